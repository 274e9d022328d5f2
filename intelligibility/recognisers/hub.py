"""Third-party recognisers of `transformers`, from the hub or from a folder.

Weights are read from safetensors only, and no code that comes with a model is run.
"""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError
from transformers import (
    AutoModel,
    AutoModelForCTC,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)
from transformers.utils import logging as transformers_logging

from intelligibility.recognisers.wav2vec2 import Wav2Vec2Recogniser
from intelligibility.recognisers.whisper import WhisperRecogniser, check_dec_mode
from intelligibility.runs import RecipeError, read_json, sha256_of

logger = logging.getLogger(__name__)

ENCODER_DECODERS = ("WhisperForConditionalGeneration",)
CTC_RECOGNISERS = ("Wav2Vec2ForCTC", "HubertForCTC", "WavLMForCTC")
ENCODERS = ("Wav2Vec2Model", "Wav2Vec2ForPreTraining", "HubertModel", "WavLMModel")
KINDS = (*ENCODER_DECODERS, *CTC_RECOGNISERS, *ENCODERS)

START = "<|startoftranscript|>"
SMALL_FILES = ["*.json", "*.txt"]  # settings, tokens; the licence and the like come along
ONLY_FOR_TRAINING = {"masked_spec_embed"}  # a weight that some models come without
WEIGHTS = ["model.safetensors", "model-*-of-*.safetensors"]


@dataclass(frozen=True)
class HubModel:
    """A recogniser's files, and where they are from."""

    folder: Path  # holds config.json, model.safetensors and so on
    source: str  # the hub id or the folder that was asked for
    revision: str | None  # the hub's revision that was asked for
    commit: str | None  # what it was when it was fetched first; None for a folder
    architecture: str  # one of `KINDS`


def made_by(model: HubModel, dec_mode: str) -> dict[str, Any]:
    """Return everything that determines a recogniser's numbers, without loading it.

    Returns
    -------
    dict
        checkpoint_sha256 (of weights, settings and tokens), checkpoints (its commit, or its folder)
        and settings.
    """
    settings: dict[str, Any] = {"architecture": model.architecture}
    if model.architecture in ENCODER_DECODERS:
        check_dec_mode(dec_mode)
        settings["dec_mode"] = dec_mode
    where = model.commit or str(model.folder.resolve())
    return {
        "recogniser": model.source,
        "recogniser_revision": model.revision,
        "checkpoints": [where],
        "checkpoint_sha256": sha256_of(model_files(model.folder)),
        "settings": settings,
    }


def fetch_model(source: str, revision: str | None = None) -> HubModel:
    """Return a recogniser's files: those of a folder, or of the hub, which is asked only once.

    Parameters
    ----------
    source : str
        A folder as `save_pretrained` writes it, or a hub id, such as openai/whisper-small.en.
    revision : str or None
        The hub's branch, tag or commit; None: main. Once fetched, a branch stays where it was.

    A kind that is not served is refused before its weights are fetched.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise RecipeError(
                f"recogniser_revision={revision}: {folder} is a folder, not on the hub"
            )
        commit = None
    else:
        folder = _from_hub(source, revision, SMALL_FILES)
        commit = folder.name
    architecture = check_kind(folder, source)
    if commit is not None:
        folder = _from_hub(source, commit, SMALL_FILES + WEIGHTS)
    if not model_files(folder):
        raise RecipeError(
            f"recogniser={source}: no model.safetensors among its files; weights of other formats "
            "can run code, and are not read: take a revision that has it, or convert them with "
            "save_pretrained and give the folder"
        )
    where = f"commit {commit}" if commit else str(folder.resolve())
    logger.info("Recogniser %s, %s, %s", source, where, architecture)
    return HubModel(folder, source, revision, commit, architecture)


def _from_hub(source: str, revision: str | None, patterns: list[str]) -> Path:
    """Return the snapshot's folder, from the cache when all is there."""
    where = f"recogniser={source} recogniser_revision={revision or 'main'}"
    try:
        return Path(_snapshot(source, revision, patterns))
    except RevisionNotFoundError:
        fault = "the hub has the model, but no such revision"
    except GatedRepoError:
        fault = (
            "its owners ask for consent; give it on the hub's page, then log in with "
            "`hf auth login`, or give a folder that holds the model"
        )
    except (RepositoryNotFoundError, HFValidationError):
        fault = "no such folder, and no such model on the hub (or one that is not public)"
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        fault = (
            f"could not be fetched ({reason}), and was not before; check the network, or fetch it "
            "elsewhere and give the folder"
        )
    raise RecipeError(f"{where}: {fault}")


def _snapshot(source: str, revision: str | None, patterns: list[str]) -> str:
    download = partial(snapshot_download, source, revision=revision, allow_patterns=patterns)
    try:
        return download(local_files_only=True)
    except (LocalEntryNotFoundError, IncompleteSnapshotError):
        logger.info("Fetching %s", source)
    return download()


def check_kind(folder: Path, source: str) -> str:
    """Return the architecture in config.json, when it is one that is served."""
    try:
        config = read_json(folder / "config.json", dict)
    except RecipeError as error:
        raise RecipeError(f"recogniser={source}: not a model of transformers ({error})") from None
    for architecture in config.get("architectures") or ["(no architecture)"]:
        if architecture in KINDS:
            return architecture
    raise RecipeError(
        f"recogniser={source}: is a {architecture}, a kind that is not served; expected an "
        f"encoder-decoder ({', '.join(ENCODER_DECODERS)}), a CTC recogniser "
        f"({', '.join(CTC_RECOGNISERS)}) or an encoder ({', '.join(ENCODERS)})"
    )


def model_files(folder: Path) -> list[Path]:
    """List the files that determine a model's numbers; none without weights in safetensors."""
    weights = sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))
    small = sorted(path for pattern in SMALL_FILES for path in folder.glob(pattern))
    return [*small, *weights] if weights else []


def load(
    model: HubModel, device: torch.device, dec_mode: str = "teacher", all_layers: bool = False
) -> WhisperRecogniser | Wav2Vec2Recogniser:
    """Load a model whose files are at hand, and fit each other.

    Parameters
    ----------
    model : HubModel
        The files.
    device, all_layers
        As of every BatchRecogniser.
    dec_mode : str
        Of an encoder-decoder: "teacher" or "generated".

    """
    # Its progress bars, and its advice, which is for those who train.
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        if model.architecture in ENCODER_DECODERS:
            return _load_whisper(model.folder, device, dec_mode, all_layers)
        with_head = model.architecture in CTC_RECOGNISERS
        return _load_wav2vec2(model.folder, device, with_head, all_layers)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RecipeError(
            f"recogniser={model.source}: {model.folder} cannot be loaded ({reason}); a file is "
            "missing or damaged: fetch it again"
        ) from None


def _load_whisper(
    folder: Path, device: torch.device, dec_mode: str, all_layers: bool
) -> WhisperRecogniser:
    model = _load_model(WhisperForConditionalGeneration, folder)
    extractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
    tokenizer = WhisperTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.convert_tokens_to_ids(START) != model.config.decoder_start_token_id:
        raise ValueError(f"the tokenizer's {START} is not the one that the decoder starts with")
    return WhisperRecogniser(model, extractor, tokenizer, device, dec_mode, all_layers)


def _load_wav2vec2(
    folder: Path, device: torch.device, with_head: bool, all_layers: bool
) -> Wav2Vec2Recogniser:
    model = _load_model(AutoModelForCTC if with_head else AutoModel, folder)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
    tokenizer = None
    if with_head:
        tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(folder, local_files_only=True)
    return Wav2Vec2Recogniser(model, extractor, tokenizer, device, all_layers)


def _load_model(kind: Any, folder: Path) -> Any:
    """Load a network whose every weight is in the files: transformers would draw the others."""
    model, found = kind.from_pretrained(
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    lacking = sorted(name for name in found["missing_keys"] if name not in ONLY_FOR_TRAINING)
    lacking += sorted(str(name) for name in found["mismatched_keys"])
    if lacking:
        raise ValueError(f"{len(lacking)} weights are not in the files: {', '.join(lacking[:3])}")
    return model
