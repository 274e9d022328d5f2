"""SpeechBrain's run options, checked: device, precision, distributed backend and so on."""

import os
import sys
from typing import Any, get_type_hints

from speechbrain.utils.run_opts import RunOptions

from intelligibility.recognisers.values import type_fault
from intelligibility.runs import RecipeError, pick_device


def run_options(given: Any, device: str) -> RunOptions:
    """Return SpeechBrain's run options, each process of torchrun with a device of its own.

    `given` is what the user asks for, by SpeechBrain's names: {"precision": "bf16"}; `device` is
    used unless it names one. The progress bar is for a terminal; a log file gets a line per epoch.
    """
    if "device" in given:
        pick_device(str(given["device"]))
    kinds = get_type_hints(RunOptions)  # which SpeechBrain declares and does not check
    faults = [type_fault(f"run_opts.{name}", v, kinds.get(name)) for name, v in given.items()]
    if any(faults):
        raise RecipeError("; ".join(filter(None, faults)))
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    backend = "nccl" if device.startswith("cuda") else "gloo"
    defaults: dict[str, Any] = {"device": device, "distributed_backend": backend}
    options = defaults | {"noprogressbar": not sys.stderr.isatty()} | given
    try:
        return RunOptions.from_dictionary(options)
    except TypeError as error:
        raise RecipeError(f"run_opts: {error}; see speechbrain.utils.run_opts.RunOptions") from None
