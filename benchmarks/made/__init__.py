"""Small data for benchmarks and tests, made when needed, identical each time."""
