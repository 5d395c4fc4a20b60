"""Several platforms under one name."""
