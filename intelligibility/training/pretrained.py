"""What training starts from: a checkpoint, pretrained files, or nothing but a tokenizer."""

import io
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

import sentencepiece
from huggingface_hub import hf_hub_download
from speechbrain.utils.checkpoints import Checkpointer

from intelligibility.experiment import AsrFolder, SaveFolder
from intelligibility.recognisers.checkpoints import check_one_training, epoch_of, read_checkpoints
from intelligibility.recognisers.speechbrain import load_average, load_normaliser, load_weights
from intelligibility.runs import RecipeError, atomic_path, sha256_of
from intelligibility.training.settings import Start, Vocabulary

logger = logging.getLogger(__name__)

THREE_WAYS = """{save}: no checkpoint to start from. Give one of
  - a SpeechBrain save/ folder: put CKPT+... and tokenizer.ckpt into {save}
  - pretrained files: pretrained=speechbrain/asr-transformer-transformerlm-librispeech, or
    pretrained=<folder> that holds asr.ckpt, normalizer.ckpt and tokenizer.ckpt, or
    that train_asr.py wrote, such as exp/ls_cls/transformer_cpc1
  - no start at all: from_scratch=true"""


def provide_start(start: Start, checkpointer: Checkpointer) -> None:
    """Leave a checkpoint to start from in the save folder, unless training starts from scratch."""
    if start.pretrained and start.from_scratch:
        raise RecipeError(f"pretrained={start.pretrained} and from_scratch: set one of the two")
    if found := checkpointer.find_checkpoint():
        last = checkpointer.recoverables["counter"].limit
        logger.info("going on from %s, epoch %d of %d", found.path, epoch_of(found), last)
    elif start.pretrained:
        install_pretrained(start, checkpointer)
    elif start.from_scratch:
        logger.info("training from scratch")
    else:
        raise RecipeError(THREE_WAYS.format(save=checkpointer.checkpoints_dir))


def install_pretrained(start: Start, checkpointer: Checkpointer) -> None:
    """Turn pretrained files into a checkpoint at `pretrained_epoch`, like that of a save/ folder.

    Strictly: the model has to have exactly the settings' parameters. Of a recogniser that
    train_asr.py trained, the average of its checkpoints is taken, as infer.py does.
    """
    source, revision = str(start.pretrained), start.pretrained_revision
    training = checkpointer.recoverables
    model = training["model"]
    trained = read_checkpoints(AsrFolder(Path(source).expanduser()).save_folder)
    try:
        if trained:
            check_one_training(trained)
            load_average(model, trained)
            weights = sorted(checkpoint.paramfiles["model"] for checkpoint in trained)
            normaliser = trained[0].paramfiles["normalizer"]
        else:
            weights = [fetch_pretrained(source, revision, "asr.ckpt")]
            model.load_state_dict(load_weights(weights[0], model), strict=True)
            normaliser = fetch_pretrained(source, revision, "normalizer.ckpt")
        load_normaliser(training["normalizer"], normaliser, start.n_mels)
    except RecipeError as error:
        raise RecipeError(
            f"pretrained={source}: {error}\n"
            "The published start is speechbrain/asr-transformer-transformerlm-librispeech at "
            "pretrained_revision 93d1bdb4a0cf5b2e2878c513ee6c57a06d150001, with the sizes that "
            "transformer_cpc1.yaml comes with"
        ) from error
    training["counter"].current = start.pretrained_epoch
    training["noam_scheduler"].n_steps = start.pretrained_steps
    checkpointer.save_checkpoint({"source": source, "sha256": sha256_of(weights)})


def fetch_pretrained(source: str, revision: str, name: str) -> Path:
    """Return a pretrained file from a folder, or from the hub, which is asked only once."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        path, where = folder / name, str(folder)
        of_ours = SaveFolder(AsrFolder(folder).save_folder).tokenizer
        if name == of_ours.name and not path.is_file():
            path = of_ours
        if not path.is_file():
            raise RecipeError(f"{path}: no such file; the pretrained folder has to hold it")
    else:
        where = f"{source} at revision {revision}"
        try:
            path = Path(hf_hub_download(source, name, revision=revision))
        except (OSError, ValueError) as error:  # all that the hub's client raises, offline included
            raise RecipeError(
                f"{name} could not be fetched from {where}: {str(error):.300}\n"
                "Check name and network, or give a folder that holds the files: pretrained=<folder>"
            ) from error
    logger.info("%s from %s, SHA-256 %s", name, where, sha256_of([path]))
    return path


def provide_tokenizer(
    path: Path, start: Start, vocabulary: Vocabulary, prompts: Iterable[str], resumed: bool
) -> None:
    """Leave the recogniser's tokenizer at `path`: there already, fetched, or made of the prompts.

    When training is `resumed`, from a checkpoint, tokens have a meaning already: none is trained.
    """
    if path.is_file():
        return
    if source := start.pretrained_lm_tokenizer_path:
        with atomic_path(path) as part:
            shutil.copyfile(fetch_pretrained(source, start.pretrained_revision, path.name), part)
    elif resumed:
        raise RecipeError(
            f"{path}: no such file, but there is a checkpoint; put the tokenizer that it was "
            "trained with there, or name its folder: asr_overrides.pretrained_lm_tokenizer_path="
            "<folder that holds tokenizer.ckpt>"
        )
    else:
        train_tokenizer(vocabulary, prompts, path)


def train_tokenizer(vocabulary: Vocabulary, prompts: Iterable[str], path: Path) -> None:
    """Train a byte-pair SentencePiece model of `vocab_size` pieces.

    The published tokenizer is a unigram model of 5000 pieces. On a few hundred prompts unigram
    training stops at little more than letters; byte pairs grow to whole words.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sorted(set(prompts))),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocabulary.vocab_size,
            required_chars="ABCDEFGHIJKLMNOPQRSTUVWXYZ'",  # so that any prompt can be written
            unk_id=vocabulary.unk_index,
            bos_id=vocabulary.bos_index,
            eos_id=vocabulary.eos_index,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise RecipeError(
            f"output_neurons={vocabulary.vocab_size}: the prompts do not yield as many pieces, or "
            f"they need more ({str(error).strip()})"
        ) from error
    with atomic_path(path) as part:
        part.write_bytes(model.getvalue())
    logger.info("tokenizer trained on the prompts: %s", path)
