"""Copying whole images to registries: what this node makes, and what other registries have."""
