"""Runnable apps."""
