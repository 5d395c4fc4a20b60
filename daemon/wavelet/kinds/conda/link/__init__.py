"""The way from a package's archive to its layer."""
