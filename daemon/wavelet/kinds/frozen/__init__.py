"""Images with a name that lasts."""
