"""The published numbers to read one's own beside, per corpus; RMSE in percent words correct.

CPC1: Tu, Ma & Barker (2022), Interspeech, arXiv 2204.04287, Tables 1 to 3, where RMSE is given on
0..1. The constant prior is that of the first Clarity Prediction Challenge.
CPC2, CPC3: the challenges' own results: the constant, their baseline (HASPI and a logistic), the
best entry; and E022 of CPC2, the entry of this method's authors with another recogniser, no MSBG.
"""

PAPER = "paper"  # trained on LibriSpeech, Clarity speech and CPC1
PAPER_THIS_RECIPE = (
    "paper, LS+CPC1"  # trained on LibriSpeech and CPC1, as this recipe does (Table 2)
)
CHALLENGE = "challenge"

# How many signals the published numbers are of: per track of CPC1, else per set.
N_TEST_SIGNALS = {
    "cpc1": {"closed": 2421, "open": 632},
    "cpc2": {"1": 305, "2": 294, "3": 298},
    "cpc3": {"dev": 926, "eval": 7674},
}

# (measure, source): {track: (RMSE, NCC, KT)}
TABLE_1 = {
    ("prior", CHALLENGE): {"closed": (36.4, None, None), "open": (36.2, None, None)},
    ("mbstoi", PAPER): {"closed": (28.5, 0.621, 0.398), "open": (36.5, 0.529, 0.391)},
    ("wcs", PAPER): {"closed": (25.0, 0.729, 0.523), "open": (25.0, 0.723, 0.534)},
    ("pre", PAPER): {"closed": (34.7, 0.299, 0.182), "open": (35.6, 0.254, 0.136)},
    ("enc", PAPER): {"closed": (23.7, 0.758, 0.487), "open": (24.1, 0.751, 0.534)},
    ("dec", PAPER): {"closed": (23.1, 0.773, 0.498), "open": (23.5, 0.763, 0.530)},
    ("dec", PAPER_THIS_RECIPE): {"closed": (23.3, 0.768, 0.503)},
}

# The same for the challenges after CPC1, whose tests are sets: {set, or "pooled": ...}.
SETS = {
    "cpc2": {
        ("prior", CHALLENGE): {"pooled": (40.0, None, None)},
        ("haspi", CHALLENGE): {"pooled": (28.7, 0.70, None)},
        ("e022", CHALLENGE): {"pooled": (25.7, 0.77, None)},
        ("best", CHALLENGE): {"pooled": (25.1, 0.78, None)},
    },
    "cpc3": {
        ("prior", CHALLENGE): {"dev": (40.2, None, None), "eval": (41.3, None, None)},
        ("haspi", CHALLENGE): {"eval": (29.47, 0.70, None)},
        ("best", CHALLENGE): {"eval": (24.98, 0.80, None)},
    },
}

# (measure, source): {average: (RMSE, NCC, KT)}, closed track
TABLE_3 = {
    ("mbstoi", PAPER): {"listener": (7.8, 0.414, 0.311), "system": (14.7, 0.798, 0.244)},
    ("dec", PAPER): {"listener": (7.8, 0.419, 0.407), "system": (4.8, 0.982, 0.644)},
}
