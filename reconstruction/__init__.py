"""Speech back from the layers of a frozen network, after Comanducci et al. (2021).

A network is a black box: from pairs of embedding and speech a second network is trained to give the
log-mel spectrogram back, a vocoder makes it sound, and a recogniser counts the words that are left.
"""
