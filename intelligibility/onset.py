"""Where speech begins in a clean reference: what may be cut off before it.

CPC1 has two seconds without speech in every scene. Elsewhere a scene's own reference tells: its
envelope rises where the talker begins. The cut lies `MARGIN` before that, for both ears of the
reference and of all signals that share it, so that a weak first sound, or an aid that is early,
loses nothing.
"""

import numpy as np

FRAME, STEP = 0.020, 0.010  # s, of the envelope
SPEECH_FRAMES = 20  # the loudest 0.2 s in all tell how loud the speech is; a click is shorter
BELOW_SPEECH = 40.0  # dB; breath and first consonants lie around it, vowels far above
ABOVE_NOISE = 6.0  # dB over the noise floor, where there is one
LEAST_ABOVE_NOISE = 20.0  # dB from the floor to speech, without which no onset can be told
LASTING = 10, 8  # a sound begins where of so many frames so many are above: no click does that
APART = 0.3  # s: less than the shortest word and pause of another sentence
SILENCE = -120.0  # dB FS, below the last bit of 16
MARGIN = 0.5  # s before the onset
SETTINGS = {
    "frames": [FRAME, STEP, SPEECH_FRAMES, *LASTING],
    "levels": [BELOW_SPEECH, ABOVE_NOISE, LEAST_ABOVE_NOISE],
    "margin": MARGIN,
}


def speech_onset(reference: np.ndarray, rate: int) -> float:
    """Find where the speech begins: seconds from the start to the first sound that lasts.

    The reference is clean speech, (n_samples, n_channels), any scale, with silence or a little
    noise before it; 0 where nothing quiet precedes the speech. `rate` is in Hz. ValueError where
    the reference is silent.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> reference = np.concatenate([np.zeros((32000, 2)), rng.standard_normal((32000, 2))])
    >>> round(speech_onset(reference, 16000), 1)
    2.0
    """
    levels = _envelope(reference, rate)
    speech, floor = _speech_and_floor(levels)
    if speech < SILENCE:
        raise ValueError("a silent reference: there is no speech to find the start of")
    if floor > speech - LEAST_ABOVE_NOISE:
        return 0.0
    above = levels > max(speech - BELOW_SPEECH, floor + ABOVE_NOISE)
    n_frames, n_above = LASTING
    lasts = np.convolve(np.pad(above, (0, n_frames)), np.ones(n_frames), "valid") >= n_above
    starts = np.flatnonzero(lasts[: len(above)] & above)
    return float(starts[0] * STEP) if len(starts) else 0.0


def lead_in_of(reference: np.ndarray, rate: int) -> float:
    """Return the seconds that can be cut off before the speech: the onset less `MARGIN`, or 0."""
    return max(0.0, speech_onset(reference, rate) - MARGIN)


def speech_span(reference: np.ndarray, rate: int) -> tuple[float, float]:
    """Return where the speech begins and where it ends, in s from the start; see `speech_onset`."""
    end = len(reference) / rate - speech_onset(reference[::-1], rate)
    return speech_onset(reference, rate), end


def longest_pause(reference: np.ndarray, rate: int, span: tuple[float, float]) -> float:
    """Return how long the reference is quiet at a time within a span in s, in s."""
    levels = _envelope(reference, rate)
    speech, floor = _speech_and_floor(levels)
    within = levels[round(span[0] / STEP) : round(span[1] / STEP)]
    loud = np.flatnonzero(within > max(speech - BELOW_SPEECH, floor + ABOVE_NOISE))
    return float(np.diff(loud).max(initial=1) - 1) * STEP


def contrast(signal: np.ndarray, rate: int, span: tuple[float, float]) -> float:
    """Return by how many dB the loudest frames of a span in s exceed the quietest."""
    levels = _envelope(signal[round(span[0] * rate) : round(span[1] * rate)], rate)
    speech, floor = _speech_and_floor(levels)
    return float(speech - floor)


def level_beyond(signal: np.ndarray, rate: int, span: tuple[float, float]) -> float:
    """Return by how many dB the loudest `APART` seconds beyond a span in s exceed its speech.

    Sound closer to the span than that may be its reverberation. -inf where there is nothing else.
    """
    levels, n_frames = _envelope(signal, rate), round(APART / STEP)
    first, last = (round(second / STEP) for second in span)
    beyond = np.concatenate([levels[: max(0, first - n_frames)], levels[last + n_frames :]])
    speech, _ = _speech_and_floor(levels[first:last])
    return float(np.sort(beyond)[-n_frames] - speech) if len(beyond) >= n_frames else -np.inf


def lasting(signal: np.ndarray, n_samples: int) -> np.ndarray:
    """Return a signal (n_samples, n_channels) that ends where its reference does.

    Aids let some hundred samples more or fewer follow; what is compared must not depend on them.
    """
    short_of = max(0, n_samples - len(signal))
    return np.pad(signal[:n_samples], ((0, short_of), (0, 0)))


def _speech_and_floor(levels: np.ndarray) -> tuple[float, float]:
    """Return the level of the loudest frames, and of the quietest, in dB FS."""
    return np.sort(levels)[-min(SPEECH_FRAMES, len(levels))], np.percentile(levels, 5)


def _envelope(signal: np.ndarray, rate: int) -> np.ndarray:
    """Return the level of every frame in dB FS, of both ears together."""
    frame, step = round(FRAME * rate), round(STEP * rate)
    energy = np.concatenate([[0.0], np.cumsum(np.mean(np.square(signal, dtype=float), axis=1))])
    starts = np.arange(0, max(1, len(signal) - frame + 1), step)
    ends = np.minimum(starts + frame, len(signal))
    return 10 * np.log10((energy[ends] - energy[starts]) / frame + 1e-20)
