"""The parts of `wavelet demo`: an image, a registry that has it, a puller."""
