"""Python wheels in conda environments: resolved, fetched and installed."""
