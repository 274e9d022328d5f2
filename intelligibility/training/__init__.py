"""What train_asr.py alone needs: tables, checkpoints, the start, the log."""
