"""Noisy LibriSpeech (CLS): what prepare_cls.py reads and mixes."""
