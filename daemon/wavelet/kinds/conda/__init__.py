"""Conda packages: from specs and lock files to images, without a build."""
