"""Examiners and fault injection, shipped because users need them too."""
