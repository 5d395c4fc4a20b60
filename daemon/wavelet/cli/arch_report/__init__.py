"""The parts of `wavelet arch-report`: the processes of a pipeline, and what the daemon says of each."""
