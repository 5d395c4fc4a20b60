"""Hosted repositories: images that engines push to this node, under `local/`, kept until somebody removes them."""
