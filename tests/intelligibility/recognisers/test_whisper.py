"""Whisper against `transformers` itself: layers and log-probabilities to 1e-5, words exactly."""

import shutil
from pathlib import Path

import pytest
import torch

from intelligibility.recognisers import whisper
from intelligibility.recognisers.whisper import WhisperOptions, repeated
from intelligibility.runs import RecipeError
from tests.conftest import edit
from tests.intelligibility.recognisers import small_hub

SECONDS = (1.234, 2.5, 4.99)


@pytest.fixture(scope="module", params=[False, True], ids=["english", "multilingual"])
def folder(request, tmp_path_factory):
    name = "multilingual" if request.param else "english"
    return small_hub.small_whisper(tmp_path_factory.mktemp("whisper") / name, request.param)


@pytest.fixture
def recogniser(folder):
    return small_hub.load_folder(folder, "teacher", True)


def features(recogniser, signal):
    """Return its log mel spectrum (1, bands, frames)."""
    return recogniser.extractor(
        signal.numpy(), sampling_rate=16000, return_tensors="pt"
    ).input_features


def generate(recogniser, signals):
    """Return the tokens that it recognises in each signal."""
    _, encoded = recogniser.encode(signals, recogniser.lengths[1])
    return recogniser.generate(encoded[-1], [recogniser.most_tokens(one) for one in signals])


def prefixed(recogniser, signal):
    """Return what `generate` makes of a signal by itself, with what it puts before and behind."""
    english = {"language": "en", "task": "transcribe"} if len(recogniser.prefix) > 2 else {}
    always, at_first = recogniser.barred, recogniser.barred_at_first
    return recogniser.model.generate(
        features(recogniser, signal),
        force_unique_generate_call=True,
        do_sample=False,
        suppress_tokens=always.nonzero()[:, 0].tolist(),
        begin_suppress_tokens=at_first.nonzero()[:, 0].tolist(),
        **english,
        return_dict_in_generate=True,
        output_hidden_states=True,
    )


def without(*names):
    """Return what drops entries of a json file, as a file of an older release has it."""
    return lambda path: edit(path, lambda content: [content.pop(name, None) for name in names])


@pytest.mark.parametrize(
    "spoil",
    [
        without("lang_to_id", "task_to_id"),
        without("no_timestamps_token_id", "is_multilingual", "max_length"),
        lambda path: edit(path, lambda content: content.update(max_length=5, language="fr")),
        Path.unlink,
    ],
    ids=["no language", "older", "other", "missing"],
)
def test_how_it_is_led_comes_from_the_vocabulary(folder, tmp_path, spoil):
    given, led = small_hub.load_folder(folder), shutil.copytree(folder, tmp_path / "other")
    spoil(led / "generation_config.json")
    led = small_hub.load_folder(led)
    start, *language, plain = led.tokenizer.convert_ids_to_tokens(led.prefix)
    assert (start, plain) == ("<|startoftranscript|>", "<|notimestamps|>")
    assert language == (["<|en|>", "<|transcribe|>"] if "multi" in folder.name else [])
    signals = [small_hub.speech(seed, 2) for seed in range(2)]
    expected, found = (one.recognise(signals, small_hub.TEXTS) for one in (given, led))
    for one, other in zip(expected, found, strict=True):
        assert one.text == other.text and one.log_prob == other.log_prob
        assert one.layers["decoder"].equal(other.layers["decoder"])


def test_a_generation_config_of_another_model_is_named(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    edit(other / "generation_config.json", lambda content: content.update(no_timestamps_token_id=9))
    with pytest.raises(RecipeError, match="no_timestamps_token_id is 9, but the tokenizer's"):
        small_hub.load_folder(other)


def test_english_only_models_name_languages_that_they_do_not_speak(folder, monkeypatch):
    """GPT-2's vocabulary tells them: they have the sign of each language, as the others."""
    recogniser = small_hub.load_folder(folder)
    monkeypatch.setattr(whisper, "GPT2_END", recogniser.tokenizer.eos_token_id)
    led = whisper.prefix_of(recogniser.tokenizer)
    assert recogniser.tokenizer.decode(led) == "<|startoftranscript|><|notimestamps|>"


@pytest.mark.parametrize("seconds", SECONDS)
def test_encoder_layers_are_those_of_transformers(recogniser, seconds):
    signal = small_hub.speech(1, seconds)
    found = next(recogniser.recognise([signal], small_hub.TEXTS[:1])).layers
    encoder = recogniser.model.get_encoder()
    expected = encoder(features(recogniser, signal), output_hidden_states=True).hidden_states
    n_frames = -(-len(signal) // 320)
    assert len(expected) == 3
    for n, layer in enumerate(expected):
        assert_close(found[f"encoder.{n}"], layer[0, :n_frames])
    assert found["encoder"] is found["encoder.2"]
    positions = encoder.embed_positions.weight[:n_frames]  # which are added to the front end
    assert_close(found["cnn"] + positions, found["encoder.0"])


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, **small_hub.TOLERANCE)


@pytest.mark.parametrize("seed", range(4))
def test_words_are_those_of_generate(recogniser, seed):
    signal = small_hub.speech(seed, 2)
    (own,), (ended,) = generate(recogniser, [signal])
    expected = prefixed(recogniser, signal).sequences[0].tolist()
    assert expected[: len(recogniser.prefix)] == recogniser.prefix
    rest = expected[len(recogniser.prefix) :]
    end = recogniser.tokenizer.eos_token_id
    spoken = rest[: rest.index(end)] if end in rest else rest
    assert spoken[: len(own)] == own  # a loop is cut
    assert ended == (own == spoken and len(own) < recogniser.most_tokens(signal))
    text = recogniser.tokenizer.decode(expected, skip_special_tokens=True).strip()
    heard = next(recogniser.recognise([signal], [None])).text
    assert heard == text if ended else text.startswith(heard)


def test_some_words_end_and_some_do_not(recogniser):
    """Otherwise the tests of words would see one case only."""
    signals = [small_hub.speech(seed, 2) for seed in range(12)]
    own, _ = generate(recogniser, signals)
    assert len({len(tokens) for tokens in own}) > 1


@pytest.mark.parametrize("text", small_hub.TEXTS)
def test_log_probability_and_decoder_layers_along_a_text_are_those_of_transformers(
    recogniser, text
):
    signal = small_hub.speech(2, 3)
    found = next(recogniser.recognise([signal], [text]))
    tokens = recogniser.tokenizer(" " + text, add_special_tokens=False).input_ids
    n_before = len(recogniser.prefix) - 1
    given = torch.tensor([[*recogniser.prefix, *tokens]])
    labels = torch.tensor([[*[-100] * n_before, *tokens, -100]])
    expected = recogniser.model(
        features(recogniser, signal),
        decoder_input_ids=given,
        labels=labels,
        output_hidden_states=True,
    )
    assert found.log_prob == pytest.approx(-expected.loss.item(), abs=1e-5)
    assert len(expected.decoder_hidden_states) == 4
    for n, layer in enumerate(expected.decoder_hidden_states):
        assert len(found.layers[f"decoder.{n}"]) == len(tokens) + 1
        assert_close(found.layers[f"decoder.{n}"], layer[0, n_before:])


def test_decoder_layers_along_its_own_words_are_those_of_generate(folder):
    recogniser = small_hub.load_folder(folder, "generated", True)
    signals = [small_hub.speech(seed, 2) for seed in range(12)]
    signal = next(one for one in signals if generate(recogniser, [one])[1] == [True])
    found = next(recogniser.recognise([signal], small_hub.TEXTS[:1]))
    generated = prefixed(recogniser, signal)
    n_steps = len(found.layers["decoder"])
    for n in range(4):
        steps = torch.cat([step[n][0, -1:] for step in generated.decoder_hidden_states])
        assert n_steps - len(steps) in (0, 1)  # without an end, the step after the last word
        assert_close(found.layers[f"decoder.{n}"][: len(steps)], steps)


def test_the_log_probability_is_that_of_the_text_in_either_mode(folder, recogniser):
    generated = small_hub.load_folder(folder, "generated", False)
    signal = small_hub.speech(2, 2)
    one, other = (next(r.recognise([signal], small_hub.TEXTS[:1])) for r in (recogniser, generated))
    assert one.log_prob == other.log_prob


@pytest.mark.parametrize(
    ("dec_mode", "window"),
    [("teacher", "trained"), ("generated", "trained"), ("teacher", "signal")],
)
def test_alone_and_in_a_batch_are_the_same(folder, dec_mode, window):
    recogniser = small_hub.load_folder(folder, dec_mode, True, window)
    signals = [small_hub.speech(seed, seconds) for seed, seconds in enumerate(SECONDS)]
    texts = [small_hub.TEXTS[0], small_hub.TEXTS[1], None]
    small_hub.assert_alike_alone_and_in_a_batch(recogniser, signals, texts)


def test_silence_that_fills_the_window_never_gets_out(recogniser):
    frames = [
        len(found.layers[name])
        for found in recogniser.recognise(
            [small_hub.speech(1, s) for s in SECONDS], small_hub.TEXTS[:1] * 3
        )
        for name in ("cnn", "encoder", "encoder.0")
    ]
    assert frames == [62] * 3 + [125] * 3 + [250] * 3


def test_the_window_of_the_signal_is_a_second_longer_and_starts_as_the_trained_one(folder):
    """The front end and the positions are those of the trained window, up to the signal's end."""
    trained, short = (small_hub.load_folder(folder, window=one) for one in ("trained", "signal"))
    lengths = [1, 16000, 16001, 3 * 16000, 4 * 16000 + 1]
    windows = [short.window_of(torch.zeros(n)) / 16000 for n in lengths]
    assert windows == [2, 2, 3, 4, 5]  # no longer than the trained one
    signal = small_hub.speech(1, 2.5)
    one, other = (next(r.recognise([signal], small_hub.TEXTS[:1])) for r in (trained, short))
    for layer in ("cnn", "encoder.0"):
        assert_close(one.layers[layer], other.layers[layer])
    assert one.layers["encoder"].shape == other.layers["encoder"].shape == (125, 32)
    assert (one.layers["encoder"] - other.layers["encoder"]).abs().max() > 1e-3  # less silence


def test_words_that_do_not_end_are_stopped_and_said(folder, monkeypatch):
    monkeypatch.setattr(whisper, "MORE_TOKENS", -8)
    monkeypatch.setattr(whisper, "REPEATING", 99)
    recogniser = small_hub.load_folder(folder)
    signals = [small_hub.speech(seed, 2) for seed in range(12)]
    found = recogniser.recognise(signals, small_hub.TEXTS[:1] * 12)
    lengths = [len(tokens) for tokens in generate(recogniser, signals)[0]]
    assert [one.ended for one in found] == [length < 12 for length in lengths]
    assert max(lengths) == 12 > min(lengths)


def test_a_loop_is_said_once(folder, monkeypatch):
    """It repeats the token until the loop is seen, and goes no further."""
    monkeypatch.setattr(whisper, "REPEATING", 3)
    recogniser = small_hub.load_folder(folder)
    (tokens,), (ended,) = generate(recogniser, [small_hub.speech(2, 2)])
    assert not ended and len(tokens) < 8
    assert len(set(tokens[-2:])) == len(tokens[-2:])


@pytest.mark.parametrize(
    ("tokens", "again"),
    [
        ([], 0),
        ([5] * 11, 0),
        ([5] * 12, 11),
        ([1, 2, 3, 1, 2, 3], 0),  # digits are said twice
        ([*range(9), *range(9)], 9),
        ([*range(9), *range(8)], 0),
        ([1, *[2, 3] * 6], 10),
    ],
)
def test_loops_are_told_from_words_said_twice(tokens, again):
    assert repeated(tokens) == again


def test_without_a_text_it_decodes_along_its_own_words(folder):
    signal = small_hub.speech(3, 2)
    found = [
        next(small_hub.load_folder(folder, mode, False).recognise([signal], [None]))
        for mode in ("teacher", "generated")
    ]
    torch.testing.assert_close(found[0].layers["decoder"], found[1].layers["decoder"])


@pytest.mark.parametrize("dec_mode", ["teacher", "generated"])
def test_words_are_searched_for_only_where_they_are_asked_for_or_followed(
    folder, monkeypatch, dec_mode
):
    recogniser = small_hub.load_folder(folder, dec_mode)
    recogniser.batch_size, searched = 4, []

    def noting(encoded, most, plain=recogniser.generate):
        searched.append(len(most))
        return plain(encoded, most)

    monkeypatch.setattr(recogniser, "generate", noting)
    signals = [small_hub.speech(seed, 2) for seed in range(4)]
    texts, asked = [None, *small_hub.TEXTS, None], [True, True, False, False]
    every, some = (list(recogniser.recognise(signals, texts, one)) for one in ([True] * 4, asked))
    assert searched == [4, 3 if dec_mode == "teacher" else 4]
    for one, other in zip(every, some, strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-6)
        assert_close(one.layers["decoder"], other.layers["decoder"])
    texts = [one.text for one in every]
    left_out = [2] if dec_mode == "teacher" else []
    assert [one.text for one in some] == [None if n in left_out else t for n, t in enumerate(texts)]


def test_words_or_frames_alone_are_those_of_a_recognition(recogniser):
    signal = small_hub.speech(3, 2)
    found = next(recogniser.recognise([signal]))
    assert next(recogniser.transcribe([signal])) == found.text
    frames = recogniser.frames_of(signal)
    assert list(frames) == ["cnn", "encoder", "encoder.0", "encoder.1", "encoder.2"]
    assert all(layer.equal(found.layers[name]) for name, layer in frames.items())


def test_capitals_are_written_as_a_sentence(recogniser):
    tokens = recogniser.tokens_of("OSCAR BOUGHT SIX")
    assert recogniser.tokenizer.decode(tokens) == " Oscar bought six"
    assert recogniser.tokenizer.decode(recogniser.tokens_of("Mr Oscar ")) == " Mr Oscar"


@pytest.mark.parametrize("text", ["", "a long prompt " * 20])
def test_a_text_that_does_not_fit_is_named(recogniser, text):
    with pytest.raises(RecipeError, match="tokens; the recogniser takes 1 to"):
        list(recogniser.recognise([small_hub.speech(1, 1)], [text] if text else [" "]))


def test_a_misspelt_option_is_named():
    with pytest.raises(RecipeError, match="dec_mode=own: expected teacher or generated"):
        WhisperOptions(dec_mode="own")
    with pytest.raises(RecipeError, match="window=5: expected trained or signal"):
        WhisperOptions(window="5")
