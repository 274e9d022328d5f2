"""The whole simulation: against frozen arrays, against the published one, and against misuse.

Tolerances, as maximum error over peak. Frozen arrays of the plain version: 1e-9, 2e-11 measured.
Published simulator (beside some checkouts only): 1e-9, 1.4e-12 measured.
"""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msbg import Audiogram, Ear, Listener, recruitment, simulate
from msbg.ear import gated_rms
from msbg.smearing import smear
from tests.msbg import msbg_oracle as oracle

TOLERANCE = 1e-9
FROZEN = np.load(oracle.FROZEN)
SIGNAL = FROZEN["signal"]


def ear(severity: str | None, src_pos: str = "ff", level_0db: float = 120.0) -> Ear:
    """Return an ear of a given severity."""
    impaired = Ear(src_pos, equiv_0db_spl=level_0db - 20)
    if severity is not None:
        impaired.set_audiogram(Audiogram(oracle.LEVELS[severity]))
    return impaired


def listener(left: str = "SEVERE", right: str = "NOTHING") -> Listener:
    """Return a listener with these severities."""
    return Listener(Audiogram(oracle.LEVELS[left]), Audiogram(oracle.LEVELS[right]), "L0001")


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Maximum error relative to the peak; shapes must agree."""
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", list(oracle.CASES))
def test_equals_the_frozen_arrays(name: str) -> None:
    """All severities, all positions, and no audiogram."""
    (heard,) = ear(*oracle.CASES[name]).process(SIGNAL[:, 0])
    assert heard.dtype == np.float64
    assert error(heard, FROZEN[name]) < TOLERANCE


@pytest.mark.parametrize("name", ["moderate_ITU", "nothing_ff"])
def test_the_plain_version_still_gives_the_frozen_arrays(name: str) -> None:
    """So that neither can drift alone."""
    assert error(oracle.speech_like(), SIGNAL) < 1e-12
    assert error(oracle.hear(SIGNAL[:, 0], *oracle.CASES[name]), FROZEN[name]) < TOLERANCE


def golden_cases(folder: object) -> list[dict]:
    """Read the list of published cases; an empty one proves nothing."""
    cases = json.loads((folder / "golden/msbg/cases.json").read_text())
    assert len(cases) == 7
    return cases


@pytest.mark.parametrize("number", range(7))
def test_equals_the_published_simulator(number: int, shared: object) -> None:
    """Real speech, mono and stereo."""
    case = golden_cases(shared)[number]
    arrays = np.load(shared / "golden/msbg/cases.npz")
    signal = arrays["signal_speech"].astype(np.float64)
    if case["channel"] is not None:
        signal = signal[:, case["channel"]]
    impaired = Ear(case["src_pos"])
    if case["audiogram"] is not None:
        audiogram = Audiogram(**case["audiogram"])
        assert audiogram.severity == case["severity"]
        impaired.set_audiogram(audiogram)
    assert error(np.array(impaired.process(signal)), arrays[case["expected"]]) < TOLERANCE


def test_equals_the_published_intermediate_signals(
    shared: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Severe case: after smearing, in three channels, their envelopes, and after recruitment."""
    arrays = np.load(shared / "golden/msbg/cases.npz")
    impaired = Ear()
    impaired.set_audiogram(Audiogram(**golden_cases(shared)[0]["audiogram"]))
    cochlea = impaired.cochlea
    smeared = smear(arrays["severe_cochlea_input"], "SEVERE")
    assert error(smeared, arrays["severe_after_smearing"]) < TOLERANCE
    heard = cochlea.simulate(arrays["severe_cochlea_input"], 120.0)
    assert error(heard, arrays["severe_cochlea_output"]) < TOLERANCE

    monkeypatch.setattr(recruitment, "BLOCK", len(smeared))
    channels, envelopes = channels_and_envelopes(smeared, cochlea.bank)
    expected = arrays["severe_cochleagram_channels_0_9_18"]
    assert error(channels[:, [0, 9, 18]].T, expected) < TOLERANCE
    expected = arrays["severe_envelope_channels_0_9_18"]
    assert error(envelopes[:, [0, 9, 18]].T, expected) < TOLERANCE


def channels_and_envelopes(signal: np.ndarray, bank: object) -> tuple[np.ndarray, np.ndarray]:
    """Return channels and two-way envelopes of a signal, as a single block."""
    longest = bank.delays.max()
    padded = np.pad(signal, (longest, longest + recruitment.EDGE))
    reads = np.pad(bank.delays + longest, (0, -len(bank.delays) % 8))
    blocks = [(0, len(signal))]
    states, backward = recruitment.sweep_forwards(padded, reads, blocks, bank)
    channels, envelopes = np.empty((2, len(signal), len(reads)))
    recruitment.filter_forwards(padded, reads, 0, states[0], channels, envelopes)
    recruitment.smooth_backwards(envelopes, backward)
    return channels, envelopes


def test_process_takes_one_or_two_channels_and_leaves_them_alone() -> None:
    """(n,), (n, 1) and (n, 2); float32 counts as what it holds. It gives the same again."""
    mono, impaired = SIGNAL[:, 0].astype(np.float32).astype(np.float64), ear("MILD")
    kept = mono.copy()
    (expected,) = ear("MILD").process(mono)
    for signal in (mono, mono, mono[:, np.newaxis], mono.astype(np.float32)):
        assert np.array_equal(impaired.process(signal)[0], expected)
    assert np.array_equal(mono, kept)
    assert len(impaired.process(SIGNAL)) == 2


def test_level_is_measured_on_the_first_channel() -> None:
    """Both channels get one gain: RMS of both over gated RMS of the first."""
    plain = ear(None)
    stereo = plain.process(SIGNAL)
    level = np.sqrt(np.mean(SIGNAL**2))
    for channel, heard in enumerate(stereo):
        (alone,) = plain.process(SIGNAL[:, channel])
        own_level = np.sqrt(np.mean(SIGNAL[:, channel] ** 2))
        own = own_level / gated_rms(SIGNAL[:, channel])
        assert error(alone * level / gated_rms(SIGNAL[:, 0]) / own, heard) < 1e-12


def test_gate_equals_the_plain_one() -> None:
    for channel in SIGNAL.T:
        assert gated_rms(channel) == pytest.approx(oracle.gated_rms(channel), rel=1e-12)
        assert gated_rms(channel) > 1.05 * np.sqrt(np.mean(channel**2))


@pytest.mark.parametrize("severity", [None, *oracle.LEVELS])
def test_silence_in_silence_out(severity: str | None) -> None:
    """No NaN, no warning, and the length that sound would have."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        heard = ear(severity).process(np.zeros((5000, 2)))
    length = 5000 if severity in (None, "NOTHING") else 64 * (79 + 3)
    assert [len(channel) for channel in heard] == [length] * 2
    assert not np.any(heard)


def test_sound_below_the_gate_keeps_its_level() -> None:
    """Where the gate finds nothing to measure: a silent first channel, or all below -80 dB FS.

    The reference gives NaN there.
    """
    plain = ear(None)
    for channel, signal, scale in ((1, SIGNAL * [0, 1], 1), (0, 1e-5 * SIGNAL[:, :1], 1e-5)):
        heard = plain.process(signal)[channel]
        (alone,) = plain.process(SIGNAL[:, channel])
        gain = np.sqrt(np.mean(SIGNAL[:, channel] ** 2)) / gated_rms(SIGNAL[:, channel])
        assert error(heard, scale * alone / gain) < 1e-12
    assert not plain.process(SIGNAL * [0, 1])[0].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 1200), st.sampled_from([None, *oracle.LEVELS]), st.integers(0, 2**32 - 1))
def test_any_length_works(n_samples: int, severity: str | None, seed: int) -> None:
    signal = np.random.default_rng(seed).uniform(-1, 1, n_samples)
    (heard,) = ear(severity).process(signal)
    lengthens = severity not in (None, "NOTHING")
    assert len(heard) == (64 * (-(-n_samples // 64) + 3) if lengthens else n_samples)
    assert np.isfinite(heard).all()


@settings(max_examples=10, deadline=None)
@given(st.floats(-30, 10))
def test_without_loss_linear_in_level(level_db: float) -> None:
    """No audiogram, and an audiogram of zeros: expansion ratios of one.

    Above the floor of the gate, which lies at -80 dB full scale.
    """
    factor = 10 ** (level_db / 20)
    flat = Ear()
    flat.set_audiogram(Audiogram([0] * 8))
    for unimpaired in (ear(None), flat):
        (heard,) = unimpaired.process(SIGNAL[:, 0])
        (scaled,) = unimpaired.process(factor * SIGNAL[:, 0])
        assert error(scaled, factor * heard) < 1e-11


def test_simulate_gives_each_ear_its_own_loss() -> None:
    """The shorter output is padded in front, where the smeared one is late."""
    heard = simulate(SIGNAL, listener(left="SEVERE", right="NOTHING"))
    (left,) = ear("SEVERE").process(SIGNAL[:, 0])
    (right,) = ear("NOTHING").process(SIGNAL[:, 1])
    assert heard.shape == (len(left), 2)
    assert np.array_equal(heard[:, 0], left)
    late = len(left) - len(right)
    assert late == 64 * (104 + 3) - 6615
    assert not heard[:late, 1].any()
    assert np.array_equal(heard[late:, 1], right)


def test_simulate_takes_the_settings_of_an_ear() -> None:
    settings_of_ear = {"src_pos": "df", "sample_rate": 44100, "equiv_0db_spl": 90, "ahr": 25}
    heard = simulate(SIGNAL, listener("MILD", "MILD"), **settings_of_ear)
    assert np.array_equal(heard[:, 0], ear("MILD", "df", 115.0).process(SIGNAL[:, 0])[0])


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (np.full(100, np.nan), r"holds nan at \(0, 0\)|holds nan at \(0,\)"),
        (np.array([[0.0, 1.0], [np.inf, np.nan]]), r"holds inf at \(1, 0\) and 1 more"),
        (np.zeros((3, 0)), r"shape \(3, 0\)"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.zeros((2, 100)), r"shape \(2, 100\)"),
        (np.zeros((100, 3)), r"shape \(100, 3\)"),
        (np.zeros((100, 2, 1)), r"shape \(100, 2, 1\)"),
        (np.float64(1), r"shape \(\)"),
        (np.zeros(100, dtype=np.int16), "holds int16"),
        (np.zeros(100, dtype=complex), "holds complex128"),
        (np.array(["a"]), "holds <U1"),
        (np.full(100, -1e160), r"reaches 1e\+160, expected floats with full scale 1"),
    ],
)
def test_refused_signals(signal: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ear("MILD").process(signal)
    with pytest.raises(ValueError, match=message):
        simulate(signal, listener())


def test_simulate_wants_two_channels() -> None:
    for shape in ((100,), (100, 1)):
        with pytest.raises(ValueError, match=r"expected \(n_samples, 2\)"):
            simulate(np.zeros(shape), listener())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        *(({"sample_rate": rate}, f"{rate} Hz.*44100 Hz") for rate in (16000, 48000, 44100.5)),
        ({"src_pos": "FF"}, "'FF', expected one of ff, df, ITU"),
    ],
)
def test_refused_settings(setting: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ear(**setting)
    with pytest.raises(ValueError, match=message):
        simulate(SIGNAL, listener(), **setting)


def test_messages(caplog: pytest.LogCaptureFixture) -> None:
    """None per ear; but an ear that was given no audiogram says so."""
    too_severe = Listener(Audiogram([90] * 8), Audiogram([90] * 8), "L0001")
    for _ in range(2):
        simulate(SIGNAL, too_severe)
    assert len(caplog.records) == 1
    ear(None).process(SIGNAL)
    assert "No audiogram was set" in caplog.records[1].message
