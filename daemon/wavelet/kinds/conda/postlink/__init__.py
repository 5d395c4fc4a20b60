"""Post-link scripts: run once in the image, and what they change is a layer."""
