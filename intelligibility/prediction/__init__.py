"""What score.py needs: your own recordings and audiograms, the predictor, its results."""
