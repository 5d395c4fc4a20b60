"""The composition of an image from layers of packages: order, grouping, documents, bill of materials."""
