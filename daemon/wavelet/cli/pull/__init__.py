"""What `wavelet pull` writes to files: SIFs, directories of them, OCI layouts, root file systems."""
