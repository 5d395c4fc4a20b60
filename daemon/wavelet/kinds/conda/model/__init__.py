"""What is asked for in the conda world, as values. Pure."""
