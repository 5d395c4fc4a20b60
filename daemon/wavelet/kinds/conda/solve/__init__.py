"""The way from specs to exact packages: the solver process, and what it has to know of the base image."""
