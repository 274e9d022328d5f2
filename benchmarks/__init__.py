"""Measurements side by side, each a script that prints a table: `python -m benchmarks.msbg`."""
