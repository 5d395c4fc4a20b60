"""The parts of `wavelet doctor`: facts of the machine, and checks, which say what they mean."""
