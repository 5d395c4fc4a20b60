"""The wiring of a daemon."""
