"""Archives, read and written as streams: tar and gzip, the same bytes on every node."""
