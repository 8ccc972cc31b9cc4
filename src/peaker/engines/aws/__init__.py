"""Amazon Web Services as the engine: what is built for it, described to it, and read back from it."""
