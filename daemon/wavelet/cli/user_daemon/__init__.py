"""The daemon of one user on one node: found, started, ended."""
