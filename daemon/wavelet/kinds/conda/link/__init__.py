"""From a package's archive to its layer."""
