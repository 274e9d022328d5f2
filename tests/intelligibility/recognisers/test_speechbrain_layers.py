"""Every layer of the trained recogniser by its name."""

import pytest
import torch

from benchmarks.made.recogniser import SETTINGS, babble, make_recogniser, small_settings
from intelligibility.recognisers.speechbrain import SpeechBrainRecogniser

CPU = torch.device("cpu")
SIGNALS = [babble(1, 1.0), babble(2, 0.7)]
N_ENCODER, N_DECODER = SETTINGS["num_encoder_layers"], SETTINGS["num_decoder_layers"]


@pytest.fixture(scope="module")
def save_folder(tmp_path_factory):
    return make_recogniser(tmp_path_factory.mktemp("asr"))


def load(save_folder, states, all_layers):
    return SpeechBrainRecogniser.load(small_settings(), save_folder, CPU, states, all_layers)


@pytest.mark.parametrize("states", ["last_beam", "best_hypothesis"])
def test_what_is_compared_stays_the_same_to_the_bit(save_folder, states):
    few, all_ = (list(load(save_folder, states, every).recognise(SIGNALS)) for every in (0, 1))
    for one, other in zip(few, all_, strict=True):
        assert one.text == other.text
        assert list(one.layers) == ["cnn", "encoder", "decoder"]
        for name, layer in one.layers.items():
            assert layer.equal(other.layers[name])
        assert other.layers["encoder"].equal(other.layers[f"encoder.{N_ENCODER}"])
        assert other.layers["decoder"].equal(other.layers[f"decoder.{N_DECODER}"])
        assert len(other.layers) == 3 + N_ENCODER + 1 + N_DECODER + 1


@torch.inference_mode()
def test_each_layer_is_made_of_the_one_before(save_folder):
    recogniser = load(save_folder, "last_beam", True)
    encoder = recogniser.transformer.encoder
    for found in recogniser.recognise(SIGNALS):
        states = found.layers["encoder.0"][None]
        for block in encoder.layers:
            states = block(states)[0]
        expected = encoder.norm(states)[0]
        torch.testing.assert_close(found.layers["encoder"], expected, rtol=1e-5, atol=1e-5)
        frames = {len(found.layers[f"encoder.{n}"]) for n in range(N_ENCODER + 1)}
        steps = {len(found.layers[f"decoder.{n}"]) for n in range(N_DECODER + 1)}
        assert frames == {len(found.layers["cnn"])} and len(steps) == 1


def test_a_batch_gives_the_layers_of_each_alone(save_folder):
    recogniser = load(save_folder, "last_beam", True)
    alone = list(recogniser.recognise(SIGNALS))
    recogniser.batch_size = 2
    for one, other in zip(alone, recogniser.recognise(SIGNALS), strict=True):
        for name, layer in one.layers.items():
            torch.testing.assert_close(layer, other.layers[name], rtol=1e-4, atol=1e-4)
