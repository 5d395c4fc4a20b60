"""What `wavelet rules` is made of: rules tried on the images of a pipeline, and what the daemon explains, as text."""
