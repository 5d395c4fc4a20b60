"""Container requests: their names, states, access and audit."""
