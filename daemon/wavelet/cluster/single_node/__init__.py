"""The cluster backend of a node by itself: all in one database of its state directory."""
