"""What was used, counted."""
