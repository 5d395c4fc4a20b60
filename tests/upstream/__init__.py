"""Tests of the client side of registries and URLs."""
