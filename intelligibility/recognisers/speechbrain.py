"""The recogniser that train_asr.py trains: its checkpoints, its layers, its words."""

import dataclasses
import hashlib
import json
import logging
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from speechbrain.utils.checkpoints import (
    Checkpoint,
    average_checkpoints,
    hook_on_loading_state_dict_checkpoint,
)
from torch import Tensor

from intelligibility.experiment import Experiment, SaveFolder
from intelligibility.recognisers.batches import Batch, BatchRecogniser
from intelligibility.recognisers.beam_search import BeamSearch, SearchSettings
from intelligibility.recognisers.checkpoints import check_one_training, read_checkpoints
from intelligibility.recognisers.hooks import layers_of
from intelligibility.recognisers.model_settings import check_model_settings
from intelligibility.recognisers.recognition import Recognition, named_layers
from intelligibility.recognisers.settings import load_settings, plain_settings
from intelligibility.runs import ASR_RATE, SPEECH_SECONDS, RecipeError, listed, sha256_of
from intelligibility.words import marked_words

logger = logging.getLogger(__name__)

DECODER_STATES = ("last_beam", "best_hypothesis")
SHORTEST, LONGEST = (round(ASR_RATE * seconds) for seconds in SPEECH_SECONDS)  # samples


class SpeechBrainRecogniser(BatchRecogniser):
    """A trained recogniser.

    Parameters
    ----------
    hparams : dict
        The settings of transformer_cpc1.yaml with the objects that they describe, already trained.
    decoder_states : str
        "last_beam": those of beam 0 at the last search step, as published. "best_hypothesis":
        those of the hypothesis that wins.
    device, all_layers
        As of every BatchRecogniser.
    """

    lengths = (SHORTEST, LONGEST)
    marked_words = staticmethod(marked_words)
    memory_remedy = "use device=cpu, or a smaller asr_overrides.test_beam_size"

    def __init__(
        self,
        hparams: dict[str, Any],
        device: torch.device,
        decoder_states: str = "last_beam",
        all_layers: bool = False,
    ):
        super().__init__(device, all_layers)
        check_decoder_states(decoder_states)
        self.decoder_states = decoder_states
        self.tokenizer = hparams["tokenizer"]
        self.fbank = hparams["compute_features"].to(device).eval()
        self.normalize = hparams["normalize"].to(device).eval()
        self.cnn, self.transformer, seq_lin, ctc_lin = hparams["model"].to(device).eval()
        settings = search_settings(hparams)
        self.search = BeamSearch(self.transformer, seq_lin, ctc_lin, settings, all_layers)

    @classmethod
    def load(
        cls,
        hparams: dict[str, Any],
        save_folder: Path,
        device: torch.device,
        decoder_states: str = "last_beam",
        all_layers: bool = False,
    ) -> "SpeechBrainRecogniser":
        """Load the average of all checkpoints of a folder, written by SpeechBrain 0.5 or 1.

        A file that is missing or damaged, or does not fit the settings, is a RecipeError.
        """
        checkpoints = find_checkpoints(save_folder)
        load_average(hparams["model"], checkpoints)
        normaliser = checkpoints[0].paramfiles["normalizer"]
        load_normaliser(hparams["normalize"], normaliser, hparams["n_mels"])
        load_tokenizer(hparams["tokenizer"], tokenizer_file(save_folder), hparams["output_neurons"])
        return cls(hparams, device, decoder_states, all_layers)

    @torch.inference_mode()
    def recognise_batch(self, batch: Batch) -> list[Recognition]:
        """Recognise several signals at once. What was said in them is not asked for."""
        with layers_of(self.transformer.encoder.layers) as blocks:
            cnn, encoded, lengths = self.encode([signal for signal, *_ in batch])
        try:
            results = self.search(encoded, lengths)
        except ValueError as error:
            raise RecipeError(
                f"{error}: the checkpoint holds numbers that are not finite, or "
                "asr_overrides.min_decode_ratio is too high"
            ) from None
        every = self.all_layers
        of_blocks = [*blocks[:-1], encoded] if every else [encoded]
        recognitions = []
        for row, found in enumerate(results):
            best = self.decoder_states == "best_hypothesis"
            states = (found.best_states if best else found.last_beam_states).cpu()
            own = slice(lengths[row])
            front = {"cnn": cnn[row].cpu()}
            encoder = named_layers("encoder", [one[row, own].cpu() for one in of_blocks], every)
            decoder = named_layers("decoder", [*states] if every else [states], every)
            words = self.tokenizer.decode_ids(list(found.hypotheses[0].tokens))
            layers = front | encoder | decoder
            clocks = dict.fromkeys(decoder, "words")
            recognitions.append(Recognition(layers, words, clocks=clocks))
        return recognitions

    @torch.inference_mode()
    def encode(self, batch: list[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
        """Run the front end and the encoder.

        Parameters
        ----------
        batch : list of Tensor, each (n_samples,), float32, 16 kHz
            The signals.

        Returns
        -------
        cnn : list of Tensor, each (frames, features)
            Output of the front end.
        encoded : Tensor, (n_signals, frames, d_model)
            Output of the encoder, padded to the longest.
        lengths : Tensor of int, (n_signals,)
            Frames of each signal.
        """
        whole = torch.ones(1, device=self.device)
        cnn = []
        for signal in batch:
            # One at a time: the CNN pads at the ends of what it is given, and so would see the
            # padding.
            features = self.normalize(self.fbank(signal.to(self.device)[None]), whole)
            cnn.append(self.cnn(features).flatten(2)[0])
        lengths = torch.tensor([len(frames) for frames in cnn])
        padded = torch.nn.utils.rnn.pad_sequence(cnn, batch_first=True)
        encoded = self.transformer.encode(padded, (lengths / lengths.max()).to(self.device))
        return cnn, encoded, lengths


def keep_products_exact() -> None:
    """Keep a GPU from rounding products to 10 bits, as SpeechBrain lets it.

    Similarities would differ in the third digit.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def load(
    cfg: DictConfig, experiment: Experiment, device: torch.device, all_layers: bool = False
) -> SpeechBrainRecogniser:
    """Load the recogniser that train_asr.py left in the experiment's recogniser folder."""
    for noisy in ("checkpoints", "seed"):
        logging.getLogger(f"speechbrain.utils.{noisy}").setLevel(logging.WARNING)
    hparams = load_settings(cfg, experiment)
    states = cfg.decoder_states
    return SpeechBrainRecogniser.load(hparams, experiment.save_folder, device, states, all_layers)


def made_by(cfg: DictConfig, experiment: Experiment) -> dict[str, Any]:
    """Return everything that determines the recogniser's numbers, without loading it.

    Returns
    -------
    dict
        checkpoint_sha256 (of models, normaliser and tokenizer), checkpoints (their names) and
        settings.
    """
    check_decoder_states(cfg.decoder_states)
    files = checkpoint_files(experiment.save_folder)
    settings = plain_settings(cfg, experiment)
    check_model_settings(experiment.save_folder, settings["model_settings"])
    model = json.dumps(settings["model_settings"], sort_keys=True)
    of_model = {
        "decoder_states": cfg.decoder_states,
        "model_sha256": hashlib.sha256(model.encode()).hexdigest(),
    }
    return {
        "checkpoint_sha256": sha256_of(files),
        "checkpoints": sorted(path.parent.name for path in files if path.name == "model.ckpt"),
        "settings": dataclasses.asdict(search_settings(settings)) | of_model,
    }


def check_decoder_states(decoder_states: str) -> None:
    """Refuse what the search has no states for."""
    if decoder_states not in DECODER_STATES:
        raise RecipeError(
            f"decoder_states={decoder_states}: expected {' or '.join(DECODER_STATES)}"
        )


def search_settings(settings: Mapping[str, Any]) -> SearchSettings:
    """Return the search that transformer_cpc1.yaml describes."""
    alike = "min_decode_ratio", "max_decode_ratio", "bos_index", "eos_index", "blank_index"
    return SearchSettings(
        settings["test_beam_size"], settings["ctc_weight_decode"], **{k: settings[k] for k in alike}
    )


def find_checkpoints(save_folder: str | Path) -> list[Checkpoint]:
    """List the checkpoints of a folder, the latest first: whole ones, of one training."""
    checkpoints = read_checkpoints(save_folder)
    check_one_training(checkpoints)
    if not checkpoints:
        raise RecipeError(
            f"{save_folder}: no checkpoint (a folder CKPT+... with model.ckpt) here; run "
            "train_asr.py first, or set path.asr_folder to a trained recogniser"
        )
    for checkpoint in checkpoints:
        for name in ("model", "normalizer"):
            if name not in checkpoint.paramfiles:
                raise RecipeError(
                    f"{checkpoint.path}: has no {name}.ckpt; restore the file, or remove the folder"
                )
    return checkpoints


def checkpoint_files(save_folder: str | Path) -> list[Path]:
    """List the files that determine a recogniser's numbers: models, normaliser, tokenizer."""
    checkpoints = find_checkpoints(save_folder)
    models = [Path(checkpoint.paramfiles["model"]) for checkpoint in checkpoints]
    return [*models, Path(checkpoints[0].paramfiles["normalizer"]), tokenizer_file(save_folder)]


def tokenizer_file(save_folder: str | Path) -> Path:
    """Return the SentencePiece model of a recogniser."""
    path = SaveFolder(Path(save_folder)).tokenizer
    if not path.is_file():
        raise RecipeError(
            f"{path}: no tokenizer; put the SentencePiece model here that the recogniser was "
            "trained with"
        )
    return path


def load_average(model: torch.nn.Module, checkpoints: list[Checkpoint]) -> None:
    """Load the average of checkpoints into a model, each with exactly the model's tensors."""
    loader = partial(load_weights, model=model)
    average = average_checkpoints(checkpoints, "model", parameter_loader=loader)
    model.load_state_dict(average, strict=True)


def load_weights(
    path: str | Path, model: torch.nn.Module, map_location: str = "cpu"
) -> dict[str, Tensor]:
    """Load the tensors of a model, with the names of SpeechBrain 1 and the shapes of `model`."""
    state = hook_on_loading_state_dict_checkpoint(load_safely(path, map_location))
    if faults := tensor_faults(state, model.state_dict()):
        raise RecipeError(
            f"{path}: does not fit the settings in transformer_cpc1.yaml and asr_overrides: "
            f"{listed(faults, 3)}; set d_model, num_encoder_layers and so on to the checkpoint's, "
            "or take another checkpoint"
        )
    return state


def tensor_faults(found: Mapping[str, Any], expected: Mapping[str, Tensor]) -> list[str]:
    """Compare the names and shapes of the tensors in a file with those of a model."""
    shapes = {
        name: tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__
        for name, one in found.items()
    }
    faults = [
        f"{name} is {shapes[name]}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in shapes and shapes[name] != tuple(tensor.shape)
    ]
    faults += [f"{name} is missing" for name in expected if name not in shapes]
    return faults + [f"{name} is not in the model" for name in shapes if name not in expected]


def load_safely(path: str | Path, map_location: str = "cpu") -> dict[str, Any]:
    """Load a file of tensors by name; nothing in it is executed."""
    try:
        state = torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0][:120]
        raise RecipeError(
            f"{path}: is damaged or not a checkpoint ({type(error).__name__}: {reason}); "
            "restore it, or remove its folder if others remain"
        ) from None
    if not isinstance(state, dict):
        raise RecipeError(f"{path}: holds a {type(state).__name__}, expected named tensors")
    return state


def load_normaliser(normalize: torch.nn.Module, path: Path, n_mels: int) -> None:
    """Load the mean and deviation of the features, from SpeechBrain 0.5 or 1."""
    statistics = load_safely(path)
    for name in ("glob_mean", "glob_std"):
        value = statistics.get(name)
        if not isinstance(value, Tensor) or value.shape != (n_mels,) or not value.isfinite().all():
            found = tuple(value.shape) if isinstance(value, Tensor) else value
            raise RecipeError(
                f"{path}: {name} is {found}, expected {n_mels} finite numbers (n_mels)"
            )
        setattr(normalize, name, value)
    normalize.count = statistics.get("count", 1)


def load_tokenizer(tokenizer: Any, path: Path, n_tokens: int) -> None:
    """Load a SentencePiece model with as many tokens as the recogniser has outputs."""
    try:
        tokenizer.load(str(path))
    except (RuntimeError, OSError) as error:
        raise RecipeError(f"{path}: is not a SentencePiece model ({error}); restore it") from None
    if tokenizer.vocab_size() != n_tokens:
        raise RecipeError(
            f"{path}: has {tokenizer.vocab_size()} tokens, expected {n_tokens} (output_neurons); "
            "take the tokenizer that the recogniser was trained with"
        )
