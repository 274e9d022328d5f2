"""Training the recogniser: data, checkpoints, start, run options, log."""
