"""Hearing-loss simulation after Moore, Stone, Baer and Glasberg (MSBG).

    from msbg import Listener, simulate

    listeners = Listener.load_listener_dict("listeners.CPC1_all.json")
    heard = simulate(signal, listeners["L0239"])    # signal: (n_samples, 2), 44.1 kHz

The sound is taken from its source to the cochlea (`transfer`), its spectrum is smeared
(`smearing`), each auditory channel is expanded to imitate loudness recruitment (`filterbank`,
`cochlea`), and the sum is taken back to the source (`ear`). All of it is float64 and gives what
the simulator of the Clarity challenges gives (pyclarity 0.9.0, clarity.evaluator.msbg).

References
----------
Baer and Moore (1993), J. Acoust. Soc. Am. 94, 1229-1241: spectral smearing.
Moore and Glasberg (1993), J. Acoust. Soc. Am. 94, 2050-2062: threshold elevation, recruitment.
Stone and Moore (1999), Ear Hear. 20, 182-192: filtering between source and cochlea.
"""

from msbg.audiogram import Audiogram, Listener
from msbg.ear import Ear, simulate

__all__ = ["Audiogram", "Ear", "Listener", "simulate"]
