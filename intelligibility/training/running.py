"""What surrounds a training: its folders, the signals that stop it, the lines that it logs."""

import gc
import logging
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from logging import WARNING
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed.nn.functional  # imported later, it would hold the group to its end
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.distributed import (
    ddp_init_group,
    if_main_process,
    is_distributed_initialized,
)
from speechbrain.utils.run_opts import RunOptions

from intelligibility.runs import ASR_RATE, RecipeError, shared_use, sole_run


@contextmanager
def process_group(run_opts: RunOptions) -> Iterator[None]:
    """Join the processes of torchrun, where there are several, until the training has ended."""
    ddp_init_group(run_opts)
    yield
    if is_distributed_initialized():
        gc.collect()  # what still holds the group keeps its threads, which can abort Python's exit
        torch.distributed.destroy_process_group()


@contextmanager
def sole_training(hparams: Mapping[str, Any]) -> Iterator[threading.Event]:
    """Make the recogniser's folders, and keep other runs from changing them or the data.

    Yields an event that is set from the first signal on that asks the training to stop.
    """
    with ExitStack() as locks:
        if if_main_process():
            folder = Path(hparams["output_folder"])
            make_folders(folder, Path(hparams["save_folder"]))
            locks.enter_context(sole_run(folder, "train_asr"))
            # Its sounds and tables must not change meanwhile, by whichever script made them.
            for script in ("prepare_data", "prepare_cls"):
                locks.enter_context(shared_use(Path(hparams["data_folder"]), script))
        yield locks.enter_context(heard_signals())


def make_folders(*folders: Path) -> None:
    """Make the recogniser's folders before hours of work, or report why they cannot be written."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise RecipeError(
                f"{folder}: the recogniser cannot be written there ({error.strerror}); set "
                "path.asr_folder to a folder that can be made and written"
            ) from None


def keep_speechbrain_quiet() -> None:
    """Leave one line per epoch in place of SpeechBrain's messages about itself."""
    for name in ("core", "utils.checkpoints", "utils.epoch_loop", "utils.seed"):
        # It resets its levels.
        logging.getLogger(f"speechbrain.{name}").addFilter(lambda one: one.levelno >= WARNING)
    # SpeechBrain makes one of the two masks bool and the other float: nothing a user could change.
    warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask and attn_mask")
    # A start has no optimiser and no place in an epoch: they begin anew.
    warnings.filterwarnings("ignore", r"(?s)(Trying to load|Loading).*missing a load path")
    warnings.filterwarnings("ignore", "'optimizer_step' not found")


@contextmanager
def heard_signals() -> Iterator[threading.Event]:
    """Note that the run is to stop: Python drops a Ctrl-C that comes while workers are forked.

    Python would print the traceback of the dropped interrupt all the same. Yields an event that is
    set from the first signal on.
    """
    stop = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.default_int_handler(number, frame)

    def show(unraisable: "sys.UnraisableHookArgs") -> None:
        if not stop.is_set():
            sys.__unraisablehook__(unraisable)

    heard = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is signal.default_int_handler
    ]
    for number in heard:
        signal.signal(number, note)
    shown, sys.unraisablehook = sys.unraisablehook, show
    try:
        yield stop
    except Exception:
        if not stop.is_set():
            raise
        raise KeyboardInterrupt from None  # dropped, but a loading process heard it
    finally:
        if not stop.is_set():  # else what is half made is destroyed after this, and would report it
            sys.unraisablehook = shown
        for number in heard:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def memory_fault_named(batch: PaddedBatch, remedy: str) -> Iterator[None]:
    """Turn a want of memory into the batch's size, the length of its signals and a remedy."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        wavs, _ = batch.sig
        raise RecipeError(
            f"out of memory with a batch of {len(wavs)} signals of up to "
            f"{wavs.shape[1] / ASR_RATE:.1f} s: {', '.join(batch.id)}\n{remedy}"
        ) from error
