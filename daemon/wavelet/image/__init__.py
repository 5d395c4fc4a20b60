"""Values and pure functions of the OCI world. No input or output happens here, and no other room is imported."""
