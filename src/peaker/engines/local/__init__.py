"""The engine of one machine: a supervisor and the processes it watches."""
