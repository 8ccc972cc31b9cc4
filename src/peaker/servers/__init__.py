"""Always-on servers: worker processes and how they drain."""
