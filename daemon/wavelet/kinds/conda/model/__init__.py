"""Values of the conda world: what is asked for, packages, locks, names. Pure."""
