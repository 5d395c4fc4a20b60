"""Images that some registry has, as they are."""
