"""What a plan is computed with: sums over traffic, queueing theory and a request-level simulation."""
