"""What score.py needs: sounds and audiograms as people have them, the predictor, what it says."""
