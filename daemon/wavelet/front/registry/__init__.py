"""The registry door: OCI distribution-spec 1.1, pull and content discovery, for any container engine."""
