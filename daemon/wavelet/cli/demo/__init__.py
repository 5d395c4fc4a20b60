"""What `wavelet demo` brings along: an image, a registry that has it, a puller."""
