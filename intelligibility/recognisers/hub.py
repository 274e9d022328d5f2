"""Third-party recognisers of `transformers`, from the hub or from a folder.

Weights are read from safetensors only, and no code that comes with a model is run.
"""

import logging
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
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
    AutoConfig,
    AutoModel,
    AutoModelForCTC,
    AutoModelForSpeechSeq2Seq,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
    WhisperTokenizer,
)
from transformers.utils import logging as transformers_logging

from intelligibility.recognisers.wav2vec2 import Wav2Vec2Recogniser
from intelligibility.recognisers.whisper import (
    AS_TRAINED,
    START,
    WhisperOptions,
    WhisperRecogniser,
)
from intelligibility.runs import ASR_RATE, RecipeError, listed, read_json, sha256_of

logger = logging.getLogger(__name__)

ENCODER_DECODERS = ("WhisperForConditionalGeneration",)
CTC_RECOGNISERS = ("Wav2Vec2ForCTC", "HubertForCTC", "WavLMForCTC")
ENCODERS = ("Wav2Vec2Model", "Wav2Vec2ForPreTraining", "HubertModel", "WavLMModel")
KINDS = (*ENCODER_DECODERS, *CTC_RECOGNISERS, *ENCODERS)

# What transformers and safetensors raise at files that are missing, damaged or senseless.
UNREADABLE = (
    *(OSError, ValueError, RuntimeError, KeyError, TypeError, AssertionError),
    SafetensorError,
)
BLOCK = r"\blayers\.\d+\."  # in the name of a weight: it is of a block
HOP = 160  # samples between the features of a Whisper
SMALL_FILES = ["*.json", "*.txt"]  # settings, tokens; the licence and the like come along
ONLY_FOR_TRAINING = {"masked_spec_embed"}  # a weight that some models come without
CONFIG, LFS_POINTER = "config.json", b"version https://git-lfs"
WEIGHTS = ["model.safetensors", "model-*-of-*.safetensors"]


@dataclass(frozen=True)
class HubModel:
    """A recogniser's files, and where they are from."""

    folder: Path  # holds config.json, model.safetensors and so on
    source: str  # the hub id or the folder that was asked for
    revision: str | None  # the hub's revision that was asked for
    commit: str | None  # what it was when it was fetched first; None for a folder
    architecture: str  # one of `KINDS`


def made_by(model: HubModel, options: WhisperOptions) -> dict[str, Any]:
    """Return everything that determines a recogniser's numbers, without loading it.

    Returns
    -------
    dict
        checkpoint_sha256 (of weights, settings and tokens), checkpoints (its commit, or its folder)
        and settings.
    """
    settings: dict[str, Any] = {"architecture": model.architecture}
    if model.architecture in ENCODER_DECODERS:
        settings |= asdict(options)
    where = model.commit or str(model.folder.resolve())
    logger.info("Recogniser %s, %s, %s", model.source, where, model.architecture)
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
        folder = _from_hub(source, commit, SMALL_FILES + WEIGHTS, partial(lacking, architecture))
    if absent := lacking(architecture, folder):
        raise RecipeError(f"recogniser={source}: no {absent} among its files")
    for path in model_files(folder):
        check_file(path)
    return HubModel(folder, source, revision, commit, architecture)


def _from_hub(
    source: str,
    revision: str | None,
    patterns: list[str],
    lacks: Callable[[Path], str] = lambda folder: "" if (folder / CONFIG).is_file() else CONFIG,
) -> Path:
    """Return the snapshot's folder, from the cache when it lacks nothing there."""
    where = f"recogniser={source} recogniser_revision={revision or 'main'}"
    try:
        return _snapshot(source, revision, patterns, lacks)
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


def _snapshot(
    source: str, revision: str | None, patterns: list[str], lacks: Callable[[Path], str]
) -> Path:
    download = partial(snapshot_download, source, revision=revision, allow_patterns=patterns)
    try:
        # Others put single files into the same cache, a tokenizer alone for instance.
        if not lacks(folder := Path(download(local_files_only=True))):
            return folder
    except (LocalEntryNotFoundError, IncompleteSnapshotError):
        pass
    logger.info("Fetching %s", source)
    return Path(download())


def check_kind(folder: Path, source: str) -> str:
    """Return the architecture in config.json, when it is one that is served."""
    try:
        config = read_json(folder / CONFIG, dict)
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


def lacking(architecture: str, folder: Path) -> str:
    """Return which file of a model is not there; "" when none that it needs is missing."""
    needed = [("preprocessor_config.json", "processor_config.json")]
    if architecture not in ENCODERS:
        needed.append(("tokenizer.json", "vocab.json"))
    for names in needed:
        if not any((folder / name).is_file() for name in names):
            return " or ".join(names)
    if any(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        return ""
    return (
        "model.safetensors (weights of other formats can run code, and are not read: take a "
        "revision that has it, or convert them with save_pretrained and give the folder)"
    )


def model_files(folder: Path) -> list[Path]:
    """List the files that determine a model's numbers."""
    small, weights = (
        sorted(path for pattern in patterns for path in folder.glob(pattern))
        for patterns in (SMALL_FILES, WEIGHTS)
    )
    return [*small, *weights]


def check_file(path: Path) -> None:
    """Refuse a file that stands for another, and json that is none."""
    with path.open("rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            raise RecipeError(
                f"{path}: a pointer of Git LFS, not the file itself: run `git lfs pull` in "
                f"{path.parent}"
            )
    if path.suffix == ".json":
        read_json(path)


def load(
    model: HubModel,
    device: torch.device,
    options: WhisperOptions = AS_TRAINED,
    all_layers: bool = False,
) -> WhisperRecogniser | Wav2Vec2Recogniser:
    """Load a model whose files are at hand, and fit each other.

    Parameters
    ----------
    model : HubModel
        The files.
    device, all_layers
        As of every BatchRecogniser.
    options : WhisperOptions
        How an encoder-decoder is used.
    """
    # Its progress bars, and its advice, which is for those who train.
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    where = f"recogniser={model.source}" + (f": {model.folder}" if model.commit else "")
    try:
        if model.architecture in ENCODER_DECODERS:
            return _load_whisper(model.folder, device, options, all_layers)
        with_head = model.architecture in CTC_RECOGNISERS
        return _load_wav2vec2(model.folder, device, with_head, all_layers)
    except RecipeError as error:  # whole files that do not belong together
        raise RecipeError(f"{where}: {error}") from None
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:300]
        remedy = "delete that folder and it is fetched again" if model.commit else "copy it again"
        raise RecipeError(
            f"{where} cannot be loaded ({reason}); a file is missing or damaged: {remedy}"
        ) from None


def unfit(model: HubModel, signals: Mapping[str, tuple[float, str]]) -> dict[str, str]:
    """Return what is wrong with signals (seconds, prompt) for a model, without its weights."""
    recogniser = load(model, torch.device("meta"))
    faults = {name: recogniser.unfit(*signal) for name, signal in signals.items()}
    return {name: fault for name, fault in faults.items() if fault}


def _load_whisper(
    folder: Path, device: torch.device, options: WhisperOptions, all_layers: bool
) -> WhisperRecogniser:
    model = _load_model(AutoModelForSpeechSeq2Seq, folder, device)
    extractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
    check_extractor(extractor, feature_size=model.config.num_mel_bins, hop_length=HOP)
    tokenizer = WhisperTokenizer.from_pretrained(folder, local_files_only=True)
    start = tokenizer.convert_tokens_to_ids(START)
    if start != model.config.decoder_start_token_id or len(tokenizer) > model.config.vocab_size:
        raise RecipeError(
            f"the tokenizer has {len(tokenizer)} tokens and starts with {start}, the decoder "
            f"{model.config.vocab_size} and {model.config.decoder_start_token_id}: they are of two "
            "models"
        )
    return WhisperRecogniser(model, extractor, tokenizer, device, options, all_layers)


def _load_wav2vec2(
    folder: Path, device: torch.device, with_head: bool, all_layers: bool
) -> Wav2Vec2Recogniser:
    model = _load_model(AutoModelForCTC if with_head else AutoModel, folder, device)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
    check_extractor(extractor, feature_size=1)
    tokenizer = None
    if with_head:
        tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(folder, local_files_only=True)
        check_letters(tokenizer, model.config, folder)
    return Wav2Vec2Recogniser(model, extractor, tokenizer, device, all_layers)


def check_extractor(extractor: Any, **expected: int) -> None:
    """Refuse a feature extractor that makes other features than the network was trained on."""
    for name, value in (expected | {"sampling_rate": ASR_RATE}).items():
        if getattr(extractor, name) != value:
            raise RecipeError(
                f"preprocessor_config.json: {name} is {getattr(extractor, name)}, but the network "
                f"takes {value}; they are of two models"
            )


def check_letters(tokenizer: Wav2Vec2CTCTokenizer, config: Any, folder: Path) -> None:
    """Refuse a tokenizer whose letters are not those of English, or not those of the network."""
    vocabulary = tokenizer.get_vocab()
    of_network = {token for token, number in vocabulary.items() if number < config.vocab_size}
    cases = (set(string.ascii_uppercase), set(string.ascii_lowercase))
    absent = min((sorted(letters - of_network) for letters in cases), key=len)
    stated = folder / "tokenizer_config.json"
    kind = str(read_json(stated, dict).get("tokenizer_class")) if stated.is_file() else ""
    if absent or "Phoneme" in kind:
        what = f"is a {kind}" if "Phoneme" in kind else f"lacks {listed(absent)}"
        raise RecipeError(f"the tokenizer {what}; expected the letters of English")
    if tokenizer.word_delimiter_token not in of_network:
        raise RecipeError(f"vocab.json: no {tokenizer.word_delimiter_token} between words")
    if tokenizer.pad_token_id != config.pad_token_id:
        raise RecipeError(
            f"the tokenizer's blank (pad) is token {tokenizer.pad_token_id}, the network's is "
            f"{config.pad_token_id}; they are of two models"
        )


def _load_model(kind: Any, folder: Path, device: torch.device) -> Any:
    """Load a network whose every weight is in the files: transformers would draw the others.

    On the device "meta" it has sizes and no weights.
    """
    if device.type == "meta":
        with device:
            return kind.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    model, found = kind.from_pretrained(
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        ignore_mismatched_sizes=True,  # they are refused here, by name
        output_loading_info=True,
    )
    absent = sorted(name for name in found["missing_keys"] if name not in ONLY_FOR_TRAINING)
    absent += [f"{name} {list(a)} not {list(b)}" for name, a, b in found["mismatched_keys"]]
    if absent:
        raise RecipeError(f"{len(absent)} weights are not in the files: {', '.join(absent[:3])}")
    if more := sorted(name for name in found["unexpected_keys"] if re.search(BLOCK, name)):
        raise RecipeError(f"{len(more)} weights are of blocks that config.json has not: {more[0]}")
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise RecipeError(f"the weights {name} are not finite; take another revision")
    return model
