"""Data that benchmarks and tests run on: small, made when they are needed, the same each time."""
