"""The function host: Lambda's Invoke API on one machine."""
