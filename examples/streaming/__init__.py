"""A small streaming platform: its catalogue on servers and functions, its playback on servers only."""
