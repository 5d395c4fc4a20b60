"""What `wavelet pack check` and `build` are made of: packs built in a directory of their own, without a daemon."""
