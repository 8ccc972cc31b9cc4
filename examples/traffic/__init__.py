"""Two weeks of real traffic, and the picture of a plan for it."""
