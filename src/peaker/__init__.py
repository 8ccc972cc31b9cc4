"""Peaker: the baseline on servers, the peaks on functions, from one code base."""

__version__ = "0.1.0"
