"""Traffic as data: traces read, shaped and replayed."""
