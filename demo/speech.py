"""Matrix sentences and the synthetic voices that speak them.

The material follows the matrix sentence tests of audiology, such as Hagerman (1982, Scand. Audiol.
11:79-87) and the Oldenburg test (Wagener, Kuehnel & Kollmeier, 1999, Z. Audiol. 38:4-15): name,
verb, numeral, adjective and noun, ten words for each position, and every combination is a sentence.
The words are our own choice.
"""

import ctypes
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context

import espeakng_loader
import numpy as np
from scipy.signal import resample_poly

from intelligibility.parallel import deaf_children
from intelligibility.runs import RecipeError

SAMPLE_RATE = 44100  # Hz, of all sounds of the miniature
WORDS_PER_MINUTE = 165
SILENCE = 10 ** (-50 / 20)  # relative to the peak; anything softer is cut at both ends

MATRIX = (
    "alan doris frank grace henry kathy lucas nina oscar sophie".split(),
    "bought carried finds holds lost needs paints sends took washed".split(),
    "two four five six seven eight nine ten twelve twenty".split(),
    "blue cheap clean dark heavy narrow plain round smooth wooden".split(),
    "baskets bottles candles clocks jackets ladders mirrors pillows saddles tables".split(),
)
TARGET_VOICES = (
    "en-us+f2",
    "en+f4",
    "en-gb-x-rp+f1",
    "en-us+m3",
    "en+m2",
    "en-gb-scotland+m1",
)
COMPETING_VOICES = ("en+f3", "en-us+Andy", "en-us+belinda", "en+m5")
COMPETING_TEXT = (
    "The morning train was late again, so we walked along the canal and watched the boats. "
    "A neighbour told us that the bridge would stay closed until the end of spring. "
    "Nobody had swept the yard, and the wind carried leaves into the kitchen. "
    "In the evening they played cards, drank tea and argued about the weather forecast. "
    "My uncle repairs old radios; he says that the hum never leaves you once you know it. "
    "After the concert the hall emptied slowly, and the porter switched off one lamp after another."
)

# espeak-ng's C interface, speak_lib.h.
_AUDIO_OUTPUT_RETRIEVAL, _POSITION_IS_CHARACTER, _CHARACTERS_UTF8, _RATE = 1, 1, 1, 1
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def matrix_sentences(n_sentences: int, rng: np.random.Generator) -> list[str]:
    """Draw lists of ten sentences that use each of the fifty words once; none is repeated.

    Returns `n_sentences` sentences of five words, in lower case.
    """
    sentences: list[str] = []
    while len(sentences) < n_sentences:
        columns = [rng.permutation(words) for words in MATRIX]
        ten = [" ".join(words) for words in zip(*columns, strict=True)]
        if set(ten).isdisjoint(sentences):
            sentences += ten
    return sentences[:n_sentences]


def speak(utterances: Sequence[tuple[str, str]]) -> list[np.ndarray]:
    """Speak sentences with espeak-ng, each a voice such as "en-us+f2" and a text.

    Returns one signal (n_samples,) per utterance, 44.1 kHz, peak 1, without silence at the ends.
    RecipeError where espeak-ng does not start or has no such voice.
    """
    # espeak-ng keeps oscillator phases from one utterance to the next. In a new process the sound
    # depends on this list only, so that two builds agree to the bit.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        with deaf_children():
            spoken = process.submit(_speak, list(utterances))
        try:
            rate, signals = spoken.result()
        except KeyboardInterrupt:
            for child in active_children():
                child.kill()
            raise
    return [_trim(resample_poly(one.astype(float), SAMPLE_RATE // rate, 1)) for one in signals]


def _speak(utterances: list[tuple[str, str]]) -> tuple[int, list[np.ndarray]]:
    """Return espeak-ng's rate, and its 16-bit samples of each utterance."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_AUDIO_OUTPUT_RETRIEVAL, 0, data, 0)
    if rate <= 0 or SAMPLE_RATE % rate:
        raise RecipeError(f"espeak-ng answers {rate} Hz; install espeakng-loader 0.2.4 again")
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breath noise and flutter
    chunks: list[np.ndarray] = []

    def collect(samples: object, n_samples: int, _events: object) -> int:
        if samples and n_samples:
            chunks.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        return 0

    callback = _CALLBACK(collect)  # a reference, or it is freed while espeak-ng still calls it
    library.espeak_SetSynthCallback(callback)
    signals = []
    for voice, text in utterances:
        if library.espeak_SetVoiceByName(voice.encode()):
            raise RecipeError(f"espeak-ng knows no voice {voice!r}; see those in {data.decode()}")
        library.espeak_SetParameter(_RATE, WORDS_PER_MINUTE, 0)
        chunks.clear()
        length = len(text.encode()) + 1  # with the closing zero
        mode = (0, _POSITION_IS_CHARACTER, 0, _CHARACTERS_UTF8, None, None)
        library.espeak_Synth(text.encode(), length, *mode)
        library.espeak_Synchronize()
        if not chunks:
            raise RecipeError(f"espeak-ng says nothing for {text!r} with voice {voice!r}")
        signals.append(np.concatenate(chunks))
    return rate, signals


def _trim(signal: np.ndarray) -> np.ndarray:
    signal = signal / np.abs(signal).max()
    loud = np.flatnonzero(np.abs(signal) > SILENCE)
    return signal[loud[0] : loud[-1] + 1]
