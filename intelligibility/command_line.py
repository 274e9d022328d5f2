"""What a script needs at the terminal: Hydra, readable errors, Ctrl-C, keys that it does not read.

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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ValidationError

from intelligibility.configuration import Settings
from intelligibility.runs import RECIPE, RecipeError, logbook, versions

logger = logging.getLogger(__name__)

EVERY_SCRIPT = ("path", "corpus", "cpc1_track", "seed", "hydra")
FREE = ("asr_overrides", "run_opts")  # groups that take any key: asr_overrides.batch_size=8
# What a key takes, by a word in OmegaConf's message.
EXPECTED = {
    "Integer": "a whole number",
    "Union": "a number",
    "valid bool": "true or false",
    "not Optional": "a value",
}
ROOM = "make room and run again: what is done is kept"
FOLDERS = "give folders that are there, or can be made, and are yours"
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EEXIST), FOLDERS),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR), FOLDERS),
    errno.EROFS: "give a path.exp_folder that can be written",
}
STOPPED = 130  # the exit status of a shell's command that was interrupted

OmegaConf.register_new_resolver("recipe", lambda: str(RECIPE), replace=True)


def register(own: str | None = None, settings: type[Settings] = Settings) -> DictConfig:
    """Let `settings` in config.yaml's list of defaults be what a script reads, and return it.

    `own` is the YAML file with the script's keys beside those of config.yaml, from the recipe's
    folder; `settings` are the types of all keys.
    """
    schema = OmegaConf.structured(settings)
    for node in (schema, *(schema[group] for group in FREE)):
        OmegaConf.set_struct(node, False)  # a user's file may hold keys of several scripts
    if own is not None:
        schema.merge_with(OmegaConf.load(RECIPE / own))
    ConfigStore.instance().store(name="settings", node=schema)
    return schema


register()


class JobError(CompactHydraException):
    """A RecipeError in a job of Hydra's launchers, which shows this base without a traceback."""


def reports_errors(
    reads: Iterable[str],
    plain: Iterable[str] = (),
    own: str | None = None,
    settings: type[Settings] = Settings,
) -> Callable[[Callable[[DictConfig], None]], Callable[[DictConfig], None]]:
    """Let a script end with our message and a status, not a traceback, for what the user can fix.

    It also logs what runs. From a terminal, `-v` logs more, and `--help` shows the script's manual
    and the configuration with its comments.

    Parameters
    ----------
    reads : iterable of str
        The keys that this script reads, beside those that every script reads. One that was changed
        on the command line and is not among them is refused.
    plain : iterable of str
        Those whose values are texts that need no quotes for Hydra, whatever they hold.
    own, settings
        See `register`.
    """

    def decorate(run: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
        """Prepare the terminal, where the script is what runs, and guard its one function."""
        if run.__module__ == "__main__":
            if {"--help", "-h"} & set(sys.argv):  # Hydra would search every folder here, .venv too
                files = [RECIPE / name for name in ("config.yaml", own) if name is not None]
                keys = [file.read_text(encoding="utf-8") for file in files]
                print(run.__globals__["__doc__"], *keys, sep="\n")
                sys.exit()
            _prepare_terminal(set(plain), register(own, settings))
        name = Path(run.__globals__["__file__"]).name

        @functools.wraps(run)
        def guarded(cfg: DictConfig) -> None:
            """Run it from its log's first entry to its last word."""
            started = time.monotonic()
            logbook.info("%s", json.dumps(provenance(cfg), indent=1))
            with errors_in_words(cfg):
                refuse_unread(name, {*EVERY_SCRIPT, *reads})
                check_ranges(cfg)
                run(cfg)
            logger.info("Done in %s", datetime.timedelta(seconds=round(time.monotonic() - started)))

        return guarded

    return decorate


@contextmanager
def errors_in_words(cfg: DictConfig) -> Iterator[None]:
    """End the script, or a launcher's job, with a message where the user can do something."""
    try:
        yield
    except KeyboardInterrupt:
        logger.error("Stopped: what is done is kept, and the same command goes on")
        sys.exit(STOPPED)
    except BrokenPipeError:  # the reader of our output has seen enough: evaluate.py | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (RecipeError, OSError) as error:
        message = str(readable(error))
        logger.error("%s", message)
        if HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN:
            raise JobError(f"Shard {cfg.shard} of {cfg.n_shards}: {message}") from None
        sys.exit(1)


def _prepare_terminal(plain: set[str], schema: DictConfig) -> None:
    """Set up what the script starts, read -v, and check each word of the command line."""
    # Jobs that a launcher starts elsewhere unpickle this script and import what it imports.
    python_path = [str(RECIPE), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(python_path)
    # After a Ctrl-C joblib's tracker clears away what the workers held, and would warn of each.
    filters = [os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker:UserWarning"]
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, filters))
    sys.argv = ["hydra.verbose=true" if word == "-v" else word for word in sys.argv]
    sys.argv[1:] = [_quoted(w) if w.split("=")[0] in plain else w for w in sys.argv[1:]]
    known = known_keys(schema)
    for word in sys.argv[1:]:
        if "=" in word and not word.startswith("-"):
            check_word(word, known)
    check_file(sys.argv, known)
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


def known_keys(schema: DictConfig) -> DictConfig:
    """Return the keys of config.yaml and of a script, with their types and values."""
    config = cast(DictConfig, OmegaConf.load(RECIPE / "config.yaml"))
    del config["hydra"], config["defaults"]
    return cast(DictConfig, OmegaConf.merge(schema, config))


def check_word(word: str, known: DictConfig) -> None:
    """Stop with a readable message where Hydra would not take key=value."""
    key, _, value = word.partition("=")
    try:
        (override,) = OverridesParser.create().parse_overrides([word])
    except CompactHydraException:
        sys.exit(
            f"{word}: Hydra cannot read this value. Put one that holds ~, commas, brackets, quotes "
            f"or the like into quotes of its own, within quotes for the shell: '{key}=\"{value}\"'"
        )
    if key[0] in "+~" or "/" in key or key.split(".")[0] == "hydra":
        return
    _check_key(key, known)
    if not override.is_sweep_override():
        try:
            OmegaConf.update(known, key, override.value())
        except ValidationError as error:
            sys.exit(f"{word}: {_expected(key, known, error)}")


def check_file(words: list[str], known: DictConfig) -> None:
    """Stop with a readable message where a user's YAML file gives a key a value of another type."""
    given = " ".join(words).replace("=", " ").split(" ")
    options = {name.lstrip("-"): value for name, value in itertools.pairwise(given)}
    instead = RECIPE / options.get("config-path", options.get("cp", "")) / "config.yaml"
    if instead.is_file() and "- /config\n" in instead.read_text(encoding="utf-8"):
        inside = RECIPE in instead.parents
        where = "" if inside else f"--config-dir {instead.parent.parent} "
        name = f"--config-name {instead.parent.name}/config"
        sys.exit(f"{instead} would build on itself; give {where}{name}")
    name = options.get("config-name", options.get("cn", "")).removesuffix(".yaml")
    path = Path(options.get("config-dir", options.get("cd", RECIPE)), f"{name}.yaml")
    if not path.is_file():
        return  # Hydra says where it looked
    content = OmegaConf.load(path)
    try:
        OmegaConf.merge(known, content)
    except ValidationError as error:
        key = str(error.full_key)
        value = OmegaConf.select(content, key)
        sys.exit(f"{path}: {key}={value}: {_expected(key, known, error)}")


def _check_key(key: str, known: DictConfig) -> None:
    """Name the key that is meant, where Hydra would advise to add the misspelt one."""
    nested = cast(dict[str, Any], OmegaConf.to_container(known))
    groups = {name: parts for name, parts in nested.items() if isinstance(parts, dict)}
    keys = [*nested, *(f"{name}.{part}" for name, parts in groups.items() for part in parts)]
    if key in keys or key.split(".")[0] in FREE:
        return
    alike = difflib.get_close_matches(key, keys, 1)
    meant = f"did you mean {alike[0]}? " if alike else ""
    sys.exit(f"{key}: the configuration has no such key; {meant}--help shows all of them")


def _expected(key: str, known: DictConfig, error: ValidationError) -> str:
    """Say what a key takes, from OmegaConf's message that it does not take this."""
    if OmegaConf.is_dict(OmegaConf.select(known, key)):
        return f"expected one of its keys, such as {key}.{[*known[key], 'name'][0]}=..."
    message = str(error).splitlines()[0]
    found = [ours for theirs, ours in EXPECTED.items() if theirs in message]
    return f"expected {found[0]}" if found else message


def readable(error: RecipeError | OSError) -> RecipeError:
    """Add to an error of the file system what to do about it, or raise it again where unknown."""
    if isinstance(error, RecipeError):
        return error
    if error.errno not in REMEDIES:
        raise error
    return RecipeError(f"{error}; {REMEDIES[error.errno]}")


class FolderCheck(Callback):
    """Make the folder for the log, which Hydra would fail to make with a traceback."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Stop with a message where nothing can be written."""
        path = config.path
        if not path.exp_folder or path.asr_folder == "":
            sys.exit(
                f"path.exp_folder={path.exp_folder} path.asr_folder={path.asr_folder}: name a "
                "folder (is a variable of the shell unset?)"
            )
        folder = Path(path.exp_folder).expanduser().absolute()
        try:
            (folder / "logs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            sys.exit(f"path.exp_folder={folder}: {error}; give a folder of your own")

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


def check_ranges(cfg: DictConfig) -> None:
    """Refuse values that no stage can use: the dataclasses of the configuration know them."""
    OmegaConf.to_object(_filled(cfg))


def resolved(cfg: DictConfig) -> str:
    """Return the configuration as JSON without interpolations, for the worker processes."""
    return json.dumps(OmegaConf.to_container(_filled(cfg), resolve=True))


def _filled(cfg: DictConfig) -> DictConfig:
    """Return a copy in which nothing is missing: the later stages need no release."""
    cfg = cfg.copy()
    if OmegaConf.is_missing(cfg.path, "root"):
        cfg.path.root = "(not given)"
    return cfg


def provenance(cfg: DictConfig) -> dict[str, Any]:
    """Return how a result was made: resolved configuration, seed, versions, command and time."""
    return {
        "config": json.loads(resolved(cfg)),
        "seed": cfg.seed,
        "versions": versions(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
