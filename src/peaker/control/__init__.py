"""Observation to action: ops endpoints and spend leases."""
