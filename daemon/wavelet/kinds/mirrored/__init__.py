"""Images that are copied to another registry as they are."""
