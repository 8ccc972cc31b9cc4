"""Predictions: what a plan or a running app would do with given traffic, and how that compares with what it did."""
