"""Two numbers on which every stage of the simulation rests."""

SAMPLE_RATE = 44_100
"""Hz. The filterbanks, the smearing and the filters are defined at this rate only."""

CATCH_UP_DB = 105.0
"""dB SPL. At this level the impaired ear hears as loud as a normal one (complete recruitment)."""
