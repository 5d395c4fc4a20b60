"""From layers of packages to an image: order, grouping, documents, bill of materials."""
