"""What Peaker claims in numbers, each measured beside what it is compared with: python -m benchmarks NAME."""
