"""A miniature of CPC1: synthetic speech, simulated listeners, the layout of the release."""
