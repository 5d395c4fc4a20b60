"""Plans: what an image is, as values, before anything is asked or made. Pure: no input, no output, no clock."""
