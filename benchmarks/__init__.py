"""What Peaker claims in numbers, each measured in one run beside what it is compared with: python -m benchmarks NAME."""
