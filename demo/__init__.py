"""A miniature of CPC1: synthetic speech and simulated listeners in the layout of the release."""
