"""wav2vec 2.0, HuBERT and WavLM against `transformers` itself, to 1e-5."""

import pytest
import torch
from transformers import AutoModel

from intelligibility.recognisers.wav2vec2 import warn_of_letters
from intelligibility.runs import RecipeError
from tests.intelligibility.recognisers import small_hub

MAKERS = {
    "wav2vec2": small_hub.small_ctc,
    "wav2vec2-large": lambda folder: small_hub.small_ctc(folder, norm="layer"),
    "hubert": lambda folder: small_hub.small_ctc(folder, "hubert"),
    "wavlm": small_hub.small_encoder,
}


@pytest.fixture(scope="module", params=MAKERS)
def folder(request, tmp_path_factory):
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param) / "model")


@pytest.fixture
def recogniser(folder):
    return small_hub.load_folder(folder)


@pytest.fixture
def ctc(tmp_path):
    return small_hub.load_folder(small_hub.small_ctc(tmp_path), all_layers=False)


def values(recogniser, signal):
    """Return what enters the network (1, n_samples)."""
    extractor = recogniser.extractor
    return extractor(signal.numpy(), sampling_rate=16000, return_tensors="pt").input_values


@pytest.mark.parametrize("seconds", [1.0, 1.7])
def test_layers_are_those_of_transformers(folder, recogniser, seconds):
    signal = small_hub.speech(1, seconds)
    found = next(recogniser.recognise([signal], small_hub.TEXTS[:1])).layers
    plain = AutoModel.from_pretrained(folder).eval()
    inputs = values(recogniser, signal)
    expected = plain(inputs, output_hidden_states=True)
    assert len(expected.hidden_states) == 4
    for n, layer in enumerate(expected.hidden_states):
        torch.testing.assert_close(found[f"encoder.{n}"], layer[0], **small_hub.TOLERANCE)
    torch.testing.assert_close(
        found["encoder"], expected.last_hidden_state[0], **small_hub.TOLERANCE
    )
    front = plain.feature_extractor(inputs)[0].T
    torch.testing.assert_close(found["cnn"], front, **small_hub.TOLERANCE)


def test_alone_and_in_a_batch_are_the_same(recogniser):
    signals = [small_hub.speech(seed, seconds) for seed, seconds in enumerate((0.6, 1.9, 1.2))]
    texts = [small_hub.TEXTS[0], small_hub.TEXTS[1], None]
    small_hub.assert_alike_alone_and_in_a_batch(recogniser, signals, texts)


def test_words_and_log_probabilities_are_those_of_transformers(ctc):
    signal = small_hub.speech(2, 2)
    found = next(ctc.recognise([signal], small_hub.TEXTS[:1]))
    labels = ctc.tokenizer(small_hub.TEXTS[0].upper(), return_tensors="pt").input_ids
    ctc.model.config.ctc_loss_reduction = "sum"
    plain = ctc.model(values(ctc, signal), labels=labels)
    assert found.text == ctc.tokenizer.batch_decode(plain.logits.argmax(-1))[0]
    assert len(found.text) > 3
    assert found.log_prob == pytest.approx(-plain.loss.item() / labels.shape[1], abs=1e-5)
    assert set(found.layers) == {"cnn", "encoder"}


def test_without_a_head_there_are_no_words(tmp_path):
    recogniser = small_hub.load_folder(small_hub.small_encoder(tmp_path), all_layers=False)
    found = next(recogniser.recognise([small_hub.speech(2, 2)], small_hub.TEXTS[:1]))
    assert found.text is None and found.log_prob is None
    assert not recogniser.has_words


@pytest.mark.parametrize(
    ("text", "written", "warned"),
    [
        ("don't stop, 1960s", "DON'T STOP S", True),
        ("5 2 9", "FIVE TWO NINE", False),
        ("stop 12", "STOP", True),  # no digit that stands alone
        ("caf\u00e9 cr\u00e8me", "CAFE CREME", False),
        ("don't stop", "DON'T STOP", False),
    ],
)
def test_letters_are_those_that_the_recogniser_knows(ctc, caplog, text, written, warned):
    warn_of_letters.cache_clear()
    read = ctc.tokenizer
    for _ in range(2):
        assert read.decode(ctc.tokens_of(text), group_tokens=False) == written
    assert len(caplog.records) == warned  # once


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1960", "none of '1960' is in the"),
        ("a" * 26, "'aaaaaaaaaaaaaaaaaaaaaaaaaa' takes 51 frames or more, but 1.00 s of speech"),
        ("the 60s", ""),
        ("", ""),
    ],
)
def test_a_prompt_that_cannot_have_been_said_is_refused_before_work(ctc, text, fault):
    assert ctc.unfit(1.0, text).startswith(fault) and bool(ctc.unfit(1.0, text)) == bool(fault)


@pytest.mark.parametrize(("text", "n_tokens"), [("1960", 0), ("a long prompt " * 20, 280)])
def test_a_text_that_was_not_said_is_named(ctc, text, n_tokens):
    with pytest.raises(RecipeError, match="is it what was said"):
        list(ctc.recognise([small_hub.speech(1, 1)], [text]))


def test_one_frame_is_the_shortest_signal(recogniser):
    shortest, _ = recogniser.lengths
    assert shortest == 400
    found = next(recogniser.recognise([small_hub.speech(1, shortest / 16000)], [None]))
    assert len(found.layers["cnn"]) == len(found.layers["encoder"]) == 1
