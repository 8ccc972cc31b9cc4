"""Where servers and functions come from."""
