"""Stand-ins for servers, for what real ones cannot be told to show."""
