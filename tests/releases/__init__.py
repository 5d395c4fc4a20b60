"""What released versions have left on disk, and that this one goes on with it."""
