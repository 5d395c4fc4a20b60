"""The door for SIF files: `GET /sif/<name>.sif`, for whatever reads a URL."""
