"""What a script needs at the terminal: Hydra, errors in words, signals, keys that it does not read.

The only file beside the scripts that knows Hydra.
"""

import datetime
import difflib
import errno
import functools
import itertools
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from intelligibility.runs import RECIPE, RecipeError, is_number, is_whole, logbook, versions

logger = logging.getLogger(__name__)

FLAGS = ("check_only", "skip_bad", "allow_leak", "report", "from_scratch")
TEXTS = (
    *("device", "asr_config", "pretrained", "pretrained_revision", "recogniser"),
    *("recogniser_revision", "calibration", "compare", "bundle"),
)
EVERY_SCRIPT = ("path", "corpus", "cpc1_track", "seed", "hydra")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
STOPPED = 130  # the exit status of a shell's command that was interrupted

OmegaConf.register_new_resolver("recipe", lambda: str(RECIPE), replace=True)

# Hydra refuses keys that config.yaml does not name; these take any: asr_overrides.batch_size=8
FREE_MAPPINGS = {
    key: DictConfig({}, flags={"struct": False}) for key in ("asr_overrides", "run_opts")
}
ConfigStore.instance().store(name="free_mappings", node=FREE_MAPPINGS)


class JobError(CompactHydraException):
    """A RecipeError in a job of Hydra's launchers, which shows this base without a traceback."""


def reports_errors(
    reads: Iterable[str], plain: Iterable[str] = ()
) -> Callable[[Callable[[DictConfig], None]], Callable[[DictConfig], None]]:
    """Let a script end with our message and a status, never with a traceback for what one can mend.

    It also logs what runs. From a terminal, `-v` logs more, and `--help` shows the script's manual
    and the configuration with its comments.

    Parameters
    ----------
    reads : iterable of str
        The keys of config.yaml that this script reads, beside those that every script reads. One
        that was changed on the command line and is not among them is refused.
    plain : iterable of str
        Those whose values are texts that need no quotes for Hydra, whatever they hold.
    """

    def decorate(run: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
        """Prepare the terminal, where the script is what runs, and guard its one function."""
        if run.__module__ == "__main__":
            _prepare_terminal(run.__globals__["__doc__"], set(plain))
        name = Path(run.__globals__["__file__"]).name

        @functools.wraps(run)
        def guarded(cfg: DictConfig) -> None:
            """Run it from its log's first entry to its last word."""
            started = time.monotonic()
            logbook.info("%s", json.dumps(provenance(cfg), indent=1))
            try:
                refuse_unread(name, {*EVERY_SCRIPT, *reads})
                check_config(cfg)
                run(cfg)
            except KeyboardInterrupt:
                logger.error("Stopped: what is done is kept, and the same command goes on")
                sys.exit(STOPPED)
            except BrokenPipeError:  # the reader of our output has seen enough: evaluate.py | head
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            except (RecipeError, OSError) as error:
                _end(in_words(error), cfg)
            logger.info("Done in %s", datetime.timedelta(seconds=round(time.monotonic() - started)))

        return guarded

    return decorate


def _prepare_terminal(manual: str, plain: set[str]) -> None:
    """Answer --help, read -v, and say what is wrong with a word of the command line."""
    if {"--help", "-h"} & set(sys.argv):  # Hydra's own would search every folder here, .venv too
        print(manual, (RECIPE / "config.yaml").read_text(), sep="\n")
        sys.exit()
    # Jobs that a launcher starts elsewhere unpickle this script and import what it imports.
    python_path = [str(RECIPE), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(python_path)
    # After a Ctrl-C joblib's tracker clears away what the workers held, and would warn of each.
    filters = [os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker:UserWarning"]
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, filters))
    sys.argv = ["hydra.verbose=true" if word == "-v" else word for word in sys.argv]
    sys.argv[1:] = [_quoted(w) if w.split("=")[0] in plain else w for w in sys.argv[1:]]
    keys = _known_keys(sys.argv[1:])
    for word in sys.argv[1:]:
        if "=" in word and not word.startswith("-"):
            _check_word(word)
            _check_key(*word.partition("=")[::2], keys)
    # A full disk is said once, by the script, and not by every handler that cannot write its log.
    logging.raiseExceptions = False
    # What others want of SIGTERM stays: a launcher has plans for it.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _quoted(word: str) -> str:
    """Put the value of key=value into the quotes that Hydra takes off again."""
    key, _, value = word.partition("=")
    if not value or value == "null" or (len(value) > 1 and value[0] == value[-1] in "\"'"):
        return word
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{escaped}"'


def _check_word(word: str) -> None:
    try:
        OverridesParser.create().parse_overrides([word])
    except CompactHydraException:
        key, _, value = word.partition("=")
        sys.exit(
            f"{word}: Hydra cannot read this value. Put one that holds ~, commas, brackets, quotes "
            f"or the like into quotes of its own, within quotes for the shell: '{key}=\"{value}\"'"
        )


def _known_keys(words: list[str]) -> list[str]:
    """Return all keys of config.yaml, and of the one that is named instead: path, path.root, ..."""
    names = ["config"]
    for word, following in itertools.pairwise([*words, ""]):
        option, _, value = word.partition("=")
        if option in ("--config-name", "-cn"):
            names.append(value or following)
    files = [RECIPE / f"{name}.yaml" for name in names]
    configs = [OmegaConf.to_container(OmegaConf.load(file)) for file in files if file.is_file()]
    nested = [(key, value) for config in configs for key, value in config.items()]
    return [
        *(key for key, _ in nested),
        *(f"{key}.{part}" for key, value in nested if isinstance(value, dict) for part in value),
    ]


def _check_key(key: str, value: str, known: list[str]) -> None:
    """Say that a key is misspelt, where Hydra would advise to add it, or that it is a group."""
    inside = [name for name in known if name.startswith(f"{key}.")]
    if inside and not value.startswith("{"):
        sys.exit(f"{key}={value}: expected one of its keys, such as {inside[0]}=...")
    elsewhere = ("hydra", *FREE_MAPPINGS)
    if key in known or key[0] in "+~" or "/" in key or key.split(".")[0] in elsewhere:
        return
    alike = difflib.get_close_matches(key, known, 1)
    meant = f"did you mean {alike[0]}? " if alike else ""
    sys.exit(f"{key}: the configuration has no such key; {meant}--help shows all of them")


def in_words(error: Exception) -> RecipeError:
    """Turn an error of the file system into one that says what to do; others pass through."""
    if isinstance(error, RecipeError):
        return error
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return RecipeError(f"{error}; make room and run again: what is done is kept")
    if isinstance(
        error, PermissionError | NotADirectoryError | FileExistsError | IsADirectoryError
    ):
        return RecipeError(f"{error}; give folders that are there, or can be made, and are yours")
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return RecipeError(f"{error}; give a path.exp_folder that can be written")
    raise error


def _end(error: RecipeError, cfg: DictConfig) -> None:
    logger.error("%s", error)
    if HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN:
        raise JobError(f"Shard {cfg.shard} of {cfg.n_shards}: {error}") from None
    sys.exit(1)


class FolderCheck(Callback):
    """Look at exp_folder before Hydra makes a folder for the log in it."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Stop with a message where nothing can be written."""
        if not config.path.exp_folder or config.path.asr_folder == "":
            sys.exit(
                f"path.exp_folder={config.path.exp_folder} path.asr_folder="
                f"{config.path.asr_folder}: name a folder (is a variable of the shell unset?)"
            )
        folder = first = Path(str(config.path.exp_folder)).expanduser().absolute()
        while not os.path.lexists(folder):
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            what = "cannot be written" if folder.is_dir() else "is no folder"
            sys.exit(f"path.exp_folder={first}: {folder} {what}; give a folder of your own")
        try:
            first.mkdir(parents=True, exist_ok=True)  # what looks writable may not be
        except OSError as error:
            sys.exit(f"path.exp_folder={first}: {error}; give a folder of your own")

    on_multirun_start = on_run_start


def refuse_unread(script: str, reads: set[str]) -> None:
    """Refuse keys that were changed on the command line and that this script does not read."""
    if not HydraConfig.initialized():
        return  # called from Python
    changed = [word.lstrip("+~").split("=")[0] for word in HydraConfig.get().overrides.task]
    unread = [key for key in changed if key.split(".")[0] not in reads]
    if unread:
        raise RecipeError(
            f"{', '.join(unread)}: {script} does not read this; it reads "
            f"{', '.join(sorted(reads - {'hydra'}))}"
        )


def check_config(cfg: DictConfig) -> None:
    """Refuse values in the configuration that no stage can use."""
    for key in TEXTS:
        if not isinstance(cfg.get(key), str | None):
            raise RecipeError(f"{key}={cfg[key]}: expected a name or a path, such as ./{cfg[key]}")
    for key in FLAGS:
        if not isinstance(cfg[key], bool):
            raise RecipeError(f"{key}={cfg[key]}: expected true or false")
    counts = {"seed": "0 or more", "shard": "0 to n_shards - 1", "n_shards": "1 or more"}
    for key, expected in counts.items():
        if not is_whole(cfg[key]) or cfg[key] < (key == "n_shards"):
            raise RecipeError(f"{key}={cfg[key]}: expected a whole number, {expected}")
    if cfg.shard >= cfg.n_shards:
        raise RecipeError(
            f"shard={cfg.shard} n_shards={cfg.n_shards}: expected shard to be 0 to n_shards - 1"
        )
    if not is_whole(cfg.n_jobs) or cfg.n_jobs == 0:
        raise RecipeError(
            f"n_jobs={cfg.n_jobs}: expected a whole number of processes, or -1 for one per core"
        )
    share = cfg.dev_percent
    if not (is_number(share) and 0 <= share < 1):
        raise RecipeError(f"dev_percent={share}: expected a share of the scenes, 0 to below 1")


def resolved(cfg: DictConfig) -> str:
    """Return the configuration as JSON without references, for processes that know none of ours."""
    return json.dumps(_plain(cfg))


def _plain(cfg: DictConfig) -> dict[str, Any]:
    cfg = cfg.copy()
    if OmegaConf.is_missing(cfg.path, "root"):
        cfg.path.root = "(not given)"  # the later stages need no release
    return OmegaConf.to_container(cfg, resolve=True)


def provenance(cfg: DictConfig) -> dict[str, Any]:
    """Say how a result was made: resolved configuration, seed, versions, command and time."""
    return {
        "config": _plain(cfg),
        "seed": cfg.seed,
        "versions": versions(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
