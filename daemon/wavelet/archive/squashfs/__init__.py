"""squashfs 4.0, written: codecs, blocks of data, and the tables that name them. It knows nothing of layers."""
