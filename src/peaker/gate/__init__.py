"""The request path inside a worker: admit, let wait, hand over, spill or refuse."""
