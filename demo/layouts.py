"""The miniature in another layout: the same sounds and answers under other names.

Training scenes with an odd number belong to CEC1; the tests are of CEC2, as in CPC2. Invented here:

CPC2    training k lacks the listeners of test k, every third one; all systems are in all sets
CPC3    every second test scene is in dev, the others in eval; severities follow from the loss of
        the better ear at 0.5 to 4 kHz; path.listeners can name the audiograms beside the release
table   one CSV, whose start and delay say that the sounds are cut as CPC1's are
"""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from intelligibility.corpora.cpc1 import NO_SPEECH, read_snrs
from intelligibility.runs import write_json, write_text

LAYOUTS = ("cpc1", "cpc2", "cpc3", "table")
SETS = (1, 2, 3)
# Grades of the WHO (2021) and the dB HL at which they begin; less than that counts as mild here.
SEVERITIES = {"Moderately severe": 50, "Moderate": 35, "Mild": -100}
TABLE_COLUMNS = (
    *("processed", "reference", "text", "correctness", "listener", "system", "scene"),
    *("split", "snr", "start", "delay"),
)
# Without the answers: of CPC2's tests, and of CPC3's dev and eval.
UNLABELLED = ("signal", "scene", "listener", "system", "prompt")
LISTED = ("signal", "prompt", "n_words", "hearing_loss")


def lay_out(source: Path, target: Path, layout: str) -> None:
    """Copy a release of CPC1, closed track, into the layout of another corpus.

    `source` holds clarity_CPC1_data_train and clarity_CPC1_data_test, and is not changed. `target`
    receives clarity_CPC2_data, clarity_CPC3_data, or listening_test.csv with its folders, as
    `layout` says: "cpc2", "cpc3" or "table". Sounds are hard links where possible.
    """
    lists = {split: _read(source, split, f"CPC1.{split}.json") for split in ("train", "test")}
    listeners = _read(source, "test", "listeners.CPC1_all.json")
    {"cpc2": _as_cpc2, "cpc3": _as_cpc3, "table": _as_table}[layout](
        source, target, lists, listeners
    )


def _as_cpc2(source: Path, target: Path, lists: dict[str, list], listeners: dict) -> None:
    data = target / "clarity_CPC2_data/clarity_data"
    group = {name: SETS[number % len(SETS)] for number, name in enumerate(sorted(listeners))}
    for split, kind in (("train", "target_ref"), ("test", "target_anechoic")):
        for entry, wav, reference in _sounds(source, split, lists[split]):
            cec = _cec(entry, split)
            link(wav, data / "HA_outputs/signals" / cec / wav.name)
            link(reference, data / "scenes" / cec / f"{entry['scene']}_{kind}.wav")
    for k in SETS:
        for cec in ("CEC1", "CEC2"):
            heard = [e for e in lists["train"] if _cec(e, "train") == cec]
            heard = [entry for entry in heard if group[entry["listener"]] != k]
            write_json(data / "metadata" / f"{cec}.train.{k}.json", heard)
        heard = [entry for entry in lists["test"] if group[entry["listener"]] == k]
        bare = [{field: entry[field] for field in UNLABELLED} for entry in heard]
        write_json(data / "metadata" / f"CEC2.test.{k}.json", bare)
        write_json(data / f"CPC2.test_labels.{k}.json", heard)
    write_json(data / "metadata/listeners.json", listeners)


def _as_cpc3(source: Path, target: Path, lists: dict[str, list], listeners: dict) -> None:
    data = target / "clarity_CPC3_data/clarity_data"
    severity = {name: _severity(entry) for name, entry in listeners.items()}
    entries: dict[str, list] = {"train": [], "dev": [], "eval": []}
    for entry, wav, reference in _sounds(source, "train", lists["train"]):
        cec, scene = _cec(entry, "train"), entry["scene"]
        name = f"{cec}_{entry['system']}_{scene}_{entry['listener']}"
        link(wav, data / "train/signals" / f"{name}.wav")
        link(reference, data / "train/references" / f"{cec}_{scene}_ref.wav")
        entries["train"].append(_answer(name, entry))
    scenes = sorted({entry["scene"] for entry in lists["test"]})
    for entry, wav, reference in _sounds(source, "test", lists["test"]):
        part = ("dev", "eval")[scenes.index(entry["scene"]) % 2]
        name = hashlib.sha256(entry["signal"].encode()).hexdigest()[:24]
        link(wav, data / part / "signals" / f"{name}.wav")
        link(reference, data / part / "references" / f"{name}_ref.wav")
        entries[part].append(_answer(name, entry) | {"hearing_loss": severity[entry["listener"]]})
    for part, heard in entries.items():
        bare = [{field: entry[field] for field in LISTED} for entry in heard if part != "train"]
        write_json(data / "metadata" / f"CPC3.{part}.json", bare or heard)
        if part != "train":
            write_json(data / "metadata" / f"CPC3.{part}_labels.json", heard)
    rows = [f"{name},{grade}" for name, grade in sorted(severity.items())]
    write_text(data / "metadata/listeners.csv", "\n".join(["listener_id,severity", *rows, ""]))
    write_json(target / "listeners.json", listeners)


def _as_table(source: Path, target: Path, lists: dict[str, list], listeners: dict) -> None:
    rows = []
    for split, entries in lists.items():
        snrs = read_snrs(source / f"clarity_CPC1_data_{split}/metadata/scenes.CPC1_{split}.json")
        for entry, wav, reference in _sounds(source, split, entries):
            paths = f"recordings/{wav.name}", f"references/{entry['scene']}.wav"
            for sound, path in zip((wav, reference), paths, strict=True):
                link(sound, target / path)
            shared = [entry[field] for field in ("correctness", "listener", "system", "scene")]
            snr = snrs.get(entry["scene"], "")
            rows.append([*paths, entry["prompt"], *shared, split, snr, NO_SPEECH, 0])
    with (target / "listening_test.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([TABLE_COLUMNS, *rows])
    write_json(target / "listeners.json", listeners)


def _read(source: Path, split: str, name: str) -> Any:
    folder = source / f"clarity_CPC1_data_{split}"
    return json.loads((folder / "metadata" / name).read_text(encoding="utf-8"))


def _sounds(source: Path, split: str, entries: list) -> Iterator[tuple[dict, Path, Path]]:
    """Yield every entry with the wavs of its signal and of its reference."""
    data = source / f"clarity_CPC1_data_{split}/clarity_data"
    for entry in entries:
        reference = data / "scenes" / f"{entry['scene']}_target_anechoic.wav"
        yield entry, data / "HA_outputs" / split / f"{entry['signal']}.wav", reference


def _cec(entry: dict, split: str) -> str:
    odd = int(entry["scene"][1:]) % 2 == 1
    return "CEC1" if split == "train" and odd else "CEC2"


def _answer(name: str, entry: dict) -> dict[str, Any]:
    """Return an entry with CPC3's fields; "#" stands for an empty response."""
    return {
        "signal": name,
        "prompt": entry["prompt"],
        "response": entry["response"] or "#",
        "n_words": entry["n_words"],
        "words_correct": entry["hits"],
        "correctness": entry["correctness"],
    }


def _severity(listener: dict) -> str:
    losses = []
    for ear in ("l", "r"):
        levels = dict(
            zip(listener["audiogram_cfs"], listener[f"audiogram_levels_{ear}"], strict=True)
        )
        losses.append(sum(levels[f] for f in (500, 1000, 2000, 4000)) / 4)
    return next(grade for grade, limit in SEVERITIES.items() if min(losses) >= limit)


def link(source: Path, target: Path) -> None:
    """Give a wav a second name, without a copy where the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return  # the reference of a scene, which several signals share
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
