"""Images with layers, environment and entry point added."""
