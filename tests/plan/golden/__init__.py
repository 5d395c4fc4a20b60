"""The values of plans in the last version that was released: files, what they were made of, and how they are read."""
