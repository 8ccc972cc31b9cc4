"""Outside formats to messages and back, one file each."""
