"""Packs: what a site adds to containers, as directories that are built into layers."""
