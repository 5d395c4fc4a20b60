"""Lock files: read, remembered for all nodes, written."""
