"""The `wavelet` command: `commands/` has a module each, `main` the way to it, the other modules what they share."""
