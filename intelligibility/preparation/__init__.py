"""What prepare_data.py alone needs: the split, the checks before work, the tables."""
