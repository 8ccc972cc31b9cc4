"""Everything that decides, as pure functions of what was seen and now."""
