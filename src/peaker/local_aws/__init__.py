"""Stand-ins for AWS services on this machine: moto's server as a process of the running app."""
