"""What `wavelet doctor` looks at: facts of the machine, and what they mean."""
