"""trained_on.json: what a recogniser was trained on, so that none of it is tested."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from intelligibility.experiment import EARS, AsrFolder
from intelligibility.runs import RecipeError, listed, read_json, write_json

logger = logging.getLogger(__name__)

Row = dict[str, Any]  # of a table


def training_record(
    tables: Mapping[str, list[Row]], rows: list[Row], known: Mapping[str, tuple[str, str, str, str]]
) -> dict[str, Any]:
    """Return the record of what is trained on, in `tables` and one row per wav.

    `known` has scene, listener, system and enhancement challenge of each signal that
    prepare_data.py recorded. Of others the tables know the listener alone.

    Returns
    -------
    dict
        tables; signals, the number of wavs; sha256, of all of them; presentations; and a hash of
        each wav, of its size and 4 KiB from its middle: another model of the ear keeps every
        length, and the whole of CPC1's training set is gigabytes.
    """
    samples = {row["ID"]: _sample(row["wav"]) for row in rows}
    whole = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row["ID"]):
        size, middle = samples[row["ID"]]
        whole.update(repr((row["ID"], row["wrd"], size)).encode())
        whole.update(middle)
    heard = {found["name"]: found for table in tables.values() for found in _heard(table, known)}
    return {
        "tables": list(tables),
        "signals": len(rows),
        "sha256": whole.hexdigest(),
        "presentations": [heard[name] for name in sorted(heard)],
        "wavs": {
            name: hashlib.sha256(repr(size).encode() + middle).hexdigest()[:12]
            for name, (size, middle) in sorted(samples.items())
        },
    }


def _sample(wav: Path) -> tuple[int, bytes]:
    size = wav.stat().st_size
    with wav.open("rb") as stream:
        stream.seek(size // 2)
        return size, stream.read(4096)


def _heard(
    table: list[Row], known: Mapping[str, tuple[str, str, str, str]]
) -> Iterator[dict[str, Any]]:
    for row in table:
        ear, _, rest = row["ID"].partition("_")  # binaural tables name both ears of a signal
        name = rest if ear in EARS else row["ID"]
        scene, listener, system, cec = known.get(name, (None, row["spk_id"], None, None))
        heard = {"name": name, "scene": scene, "listener": listener, "system": system}
        yield heard | {"prompt": row["wrd"], "cec": cec}


def record_data(asr_folder: Path, now: dict[str, Any], goes_on: bool, epochs_left: bool) -> None:
    """Write what is trained on to trained_on.json; warn when it was something else before.

    `now` is what `training_record` returns, with the training's id. Where the training `goes_on`
    from a checkpoint of its own, what that was trained on stays in the record, and an unknown part
    is not made up. `epochs_left` says whether anything will be trained on `now`.
    """
    path = AsrFolder(asr_folder).trained_on
    if not goes_on:
        write_json(path, now)
        return
    if not path.is_file():
        return
    then = read_record(asr_folder)
    if all(then.get(key) == now[key] for key in ("tables", "sha256")):
        return
    logger.warning(
        "%s: the recogniser was trained on other data: %s. Delete %s to train anew",
        path,
        "; ".join(differences(then, now)),
        asr_folder,
    )
    if epochs_left and "presentations" in then:
        both = {tuple(heard.values()): heard for heard in then["presentations"]}
        both |= {tuple(heard.values()): heard for heard in now["presentations"]}
        write_json(path, now | {"presentations": list(both.values())})


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return readable differences between two records of training data."""
    found = []
    if then.get("tables") != now["tables"]:
        found.append(f"tables {then.get('tables')}, now {now['tables']}")
    if "wavs" not in then or "presentations" not in then:
        return [*found, f"{then.get('signals')} wavs, now {now['signals']}; no list of them then"]
    for key, many in (("scene", "scenes"), ("name", "signals")):
        old, new = ({heard[key] for heard in one["presentations"]} for one in (then, now))
        found += _counted({"added": new - old, "gone": old - new}, many)
    said = {heard["name"]: heard["prompt"] for heard in then["presentations"]}
    prompts = [
        f"{heard['name']}: {said[heard['name']]!r}, now {heard['prompt']!r}"
        for heard in now["presentations"]
        if said.get(heard["name"], heard["prompt"]) != heard["prompt"]
    ]
    wavs = [name for name, sha in now["wavs"].items() if then["wavs"].get(name, sha) != sha]
    found += _counted({"changed": prompts}, "prompts") + _counted({"changed": wavs}, "wavs")
    return found or ["the same signals, otherwise named or worded"]


def _counted(changes: Mapping[str, Iterable[str | None]], many: str) -> list[str]:
    known = {what: sorted(filter(None, names)) for what, names in changes.items()}
    return [f"{len(n)} {many} {what} ({listed(n, 3)})" for what, n in known.items() if n]


def check_unseen(asr_folder: str | Path, measured: Mapping[str, str | None]) -> None:
    """Refuse signals that a recogniser was trained on, or of scenes that it was trained on.

    `measured` has the scene of each dev and test signal by its name, None where it is not known.
    Where nothing records what the recogniser was trained on, a warning says so.
    """
    path = AsrFolder(Path(asr_folder)).trained_on
    record = read_record(Path(asr_folder))
    if "presentations" not in record:
        logger.warning(
            "%s does not say what the recogniser was trained on: nothing here can tell whether "
            "dev or test scenes were among it",
            path,
        )
        return
    trained_on = {one["name"]: one["scene"] for one in record["presentations"]}
    scenes = set(trained_on.values()) - {None}
    seen = [name for name, scene in measured.items() if scene in scenes or name in trained_on]
    if seen:
        raise RecipeError(
            f"{path}: the recogniser was trained on {len(seen)} of the "
            f"{len(measured)} dev and test signals, or on others of their scenes: "
            f"{listed(sorted(seen))}. Run prepare_data.py with the seed, dev_percent and track of "
            "its training again, or train one on this split: train_asr.py with another "
            "path.asr_folder"
        )


def heard_by_start(pretrained: str | None) -> list[dict[str, Any]]:
    """Return the presentations that a start trained by this recipe has been trained on."""
    record = read_record(Path(pretrained).expanduser()) if pretrained else {}
    return record.get("presentations", [])


def read_record(asr_folder: Path) -> dict[str, Any]:
    """Read what a recogniser was trained on: {} without a record; a damaged one is refused."""
    path = AsrFolder(asr_folder).trained_on
    record = read_json(path, dict) if path.is_file() else {}
    try:
        if "presentations" in record:  # an earlier version counted the signals only
            dict(record["wavs"])  # that it is one, as each below has a name, a scene and a prompt
            {one["name"]: (one["scene"], one["prompt"]) for one in record["presentations"]}
    except (KeyError, TypeError, ValueError):
        raise RecipeError(
            f"{path}: presentations are not as train_asr.py writes them; restore the file"
        ) from None
    return record
