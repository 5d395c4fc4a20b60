"""Segments: what of a layer lies in a squashfs image, compressed once, and the index that says where."""
