"""Measuring an app on this machine: it is started alone, asked, loaded, and stopped again."""
