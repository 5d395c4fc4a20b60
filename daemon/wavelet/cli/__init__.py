"""The `wavelet` command."""
