"""SIF files of images, put together of segments: layers that were compressed once."""
