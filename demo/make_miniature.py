"""Build the miniature of CPC1: synthetic speech, simulated hearing aids and listeners.

    python -m demo.make_miniature [--folder demo/data] [--seed 1] [--n-jobs 2] [--layout cpc1]

`--layout cpc2` and `--layout cpc3` write the same sounds in the layout of those corpora, and
`--layout table` as a listening test of your own (see demo/layouts.py), into separate folders. As
CPC1 it writes, for the closed and the open track,

    clarity_CPC1_data_train/  metadata/{CPC1.train,CPC1.train_indep}.json
                              metadata/{listeners.CPC1_train,scenes.CPC1_train}.json
                              clarity_data/HA_outputs/{train,train_indep}/<signal>.wav
                              clarity_data/scenes/<scene>_target_anechoic.wav
    clarity_CPC1_data_test/   the same for test, with listeners.CPC1_all.json
    README.md                 says that no person spoke or listened

The lists of scenes also hold `chances`: of each signal, how likely each word was to be repeated.
The open track's training set leaves out one system and some listeners; its test set is the part of
the closed test set with that system or those listeners, as in CPC1. The same seed gives the same
files, byte for byte. The folder appears only when it is complete; a second call does nothing unless
the settings or this code have changed.
"""

import argparse
import itertools
import json
import logging
import os
import shutil
import sys
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from demo import hearing_aids, layouts, listeners, scenes, speech
from intelligibility.parallel import deaf_children
from intelligibility.runs import atomic_folder, sha256_of, write_json, write_text

logger = logging.getLogger("make_miniature")

FOLDER = Path(__file__).resolve().parent / "data"
FOLDERS = {"cpc1": "data", "cpc2": "data_cpc2", "cpc3": "data_cpc3", "table": "data_table"}
STAMP = "miniature.json"
HELD_OUT_SYSTEM = "E904"  # unseen in the open track's training, as are the listeners
HELD_OUT_LISTENERS = ("L9003", "L9010")
HEADROOM = 10 ** (20 / 20)  # in CPC1, 0 dB FS is 100 dB SPL in references, 120 in aids' outputs
SNRS = (-12.0, -8.0, -4.0, 0.0, 4.0, 8.0, 12.0, 16.0)  # dB
LISTENER_FILES = {"train": "listeners.CPC1_train.json", "test": "listeners.CPC1_all.json"}
NOTICE = """# A miniature of CPC1, for trying the recipe out

Nothing here was recorded and nobody was tested. The speech is synthetic (espeak-ng), the scenes and
the hearing aids are computed, and the listeners are simulated: standard audiograms, and word scores
drawn from a published psychometric function. The layout and the field names are those of the CPC1
release; the names of scenes, listeners and systems start with a 9 (S9.., L9.., E9..), which CPC1
does not use. Scores on it say whether the recipe works. They say nothing about people, and they
compare with no published result.
"""


@dataclass(frozen=True)
class Settings:
    """The size of the miniature and the seed of all random draws."""

    n_train_scenes: int = 600
    n_test_scenes: int = 60
    signals_per_scene: int = 2  # of the test
    seed: int = 1
    signals_per_train_scene: int = 1  # more sentences teach a recogniser more than more signals
    layout: str = "cpc1"


@dataclass(frozen=True)
class Plan:
    """One scene, its split (train or test), and the (listener, system) pairs that hear it."""

    scene: scenes.Scene
    split: str
    heard_by: list[tuple[str, str]]


def build(folder: str | Path, settings: Settings, n_jobs: int = -1) -> bool:
    """Build the miniature, completely or not at all, in `n_jobs` processes; -1 for one per core.

    An older miniature in the folder is replaced once the new one is complete. Returns False if the
    folder already held this miniature and nothing was done.
    """
    folder = Path(folder).absolute()
    code = sha256_of(sorted(Path(__file__).parent.glob("*.py")))
    stamp = {"notice": NOTICE, "settings": asdict(settings), "code_sha256": code}
    if (folder / STAMP).is_file() and json.loads((folder / STAMP).read_text()) == stamp:
        return False
    if folder.exists() and any(folder.iterdir()) and not (folder / STAMP).is_file():
        raise FileExistsError(
            f"{folder}: holds other files and no miniature; give an empty --folder"
        )
    with atomic_folder(folder) as part:
        _write(part, settings, cpu_count() if n_jobs < 0 else n_jobs)
        if settings.layout != "cpc1":
            _change_layout(part, settings.layout)
        write_json(part / STAMP, stamp)
    return True


def _write(folder: Path, settings: Settings, n_jobs: int) -> None:
    plans = plan_scenes(settings)
    texts = [(plan.scene.voice, plan.scene.prompt) for plan in plans]
    others = [(voice, speech.COMPETING_TEXT) for voice in speech.COMPETING_VOICES]
    spoken = speech.speak(texts + others)
    targets, talkers = spoken[: len(texts)], spoken[len(texts) :]
    spectrum = scenes.speech_spectrum(targets)

    for split in ("train", "test"):
        for name in (f"HA_outputs/{split}", f"HA_outputs/{split}_indep", "scenes"):
            (_archive(folder, split) / "clarity_data" / name).mkdir(parents=True)
    jobs = (
        delayed(_write_scene)(
            _archive(folder, plan.split), plan, target, spectrum, talkers, settings.seed
        )
        for plan, target in zip(plans, targets, strict=True)
    )
    with deaf_children():
        done = Parallel(n_jobs, return_as="generator")(jobs)
    entries = list(tqdm(done, total=len(plans), desc="scenes", unit="scene", disable=None))
    for split in ("train", "test"):
        rows = [row for row, plan in zip(entries, plans, strict=True) if plan.split == split]
        _write_metadata(_archive(folder, split), split, rows)
    write_text(folder / "README.md", NOTICE)


def _change_layout(folder: Path, layout: str) -> None:
    """Replace the folder by the same miniature in the layout of another corpus."""
    as_cpc1 = folder.with_name(f"{folder.name}.cpc1")
    os.replace(folder, as_cpc1)
    try:
        layouts.lay_out(as_cpc1, folder, layout)
    finally:
        shutil.rmtree(as_cpc1)
    write_text(folder / "README.md", NOTICE.replace("CPC1", layout.upper()))


def plan_scenes(settings: Settings) -> list[Plan]:
    """Plan the training scenes, then the test scenes.

    Conditions (SNR and interferer), voices, and pairs of listener and system are each used equally
    often.
    """
    n_scenes = settings.n_train_scenes + settings.n_test_scenes
    rng = np.random.default_rng(settings.seed)
    prompts = speech.matrix_sentences(n_scenes, rng)
    voices = _balanced(speech.TARGET_VOICES, n_scenes, rng)
    conditions = _balanced(list(itertools.product(SNRS, ("noise", "talkers"))), n_scenes, rng)
    pairs = list(itertools.product(listeners.LISTENERS, hearing_aids.SYSTEMS))
    n_signals = [settings.signals_per_train_scene] * settings.n_train_scenes
    n_signals += [settings.signals_per_scene] * settings.n_test_scenes
    heard_by = iter(_balanced(pairs, sum(n_signals), rng))
    plans = []
    for number in range(n_scenes):
        snr, interferer = conditions[number]
        target_azimuth = float(rng.integers(-30, 31))
        n_sources = 1 if interferer == "noise" else len(speech.COMPETING_VOICES)
        azimuths = rng.integers(30, 91, size=n_sources) * np.resize((1, -1), n_sources)
        azimuths *= rng.choice((-1, 1))
        scene = scenes.Scene(
            name=f"S9{number + 1:04d}",
            prompt=prompts[number],
            voice=voices[number],
            interferer=interferer,
            snr=snr,
            target_azimuth=target_azimuth,
            interferer_azimuths=tuple(map(float, azimuths)),
        )
        mine = sorted(set(itertools.islice(heard_by, n_signals[number])))
        plans.append(Plan(scene, "train" if number < settings.n_train_scenes else "test", mine))
    return plans


def _balanced(choices: Sequence, n_draws: int, rng: np.random.Generator) -> list:
    """Draw `n_draws` times, each choice equally often, in random order."""
    order = np.concatenate(
        [rng.permutation(len(choices)) for _ in range(-(-n_draws // len(choices)))]
    )
    return [choices[i] for i in order[:n_draws]]


def _archive(folder: Path, split: str) -> Path:
    return folder / f"clarity_CPC1_data_{split}"


def _write_scene(
    archive: Path,
    plan: Plan,
    spoken: np.ndarray,
    spectrum: np.ndarray,
    talkers: list[np.ndarray],
    seed: int,
) -> tuple[dict, list[dict]]:
    """Write the audio of one scene; return its entry in the list of scenes and its responses."""
    scene, split, data = plan.scene, plan.split, archive / "clarity_data"
    rng = np.random.default_rng([seed, zlib.crc32(scene.name.encode())])
    parts = scenes.render(scene, spoken, spectrum, talkers, rng)
    _write_wav(data / "scenes" / f"{scene.name}_target_anechoic.wav", parts[0] * HEADROOM)
    start = round(scenes.BEFORE * speech.SAMPLE_RATE)
    stop = len(parts[0]) - round(scenes.AFTER * speech.SAMPLE_RATE)
    responses, chances = [], {}
    for listener, system in plan.heard_by:
        signal = f"{scene.name}_{listener}_{system}"
        aided = hearing_aids.process(system, parts, listeners.audiograms(listener))
        wav = data / "HA_outputs" / split / f"{signal}.wav"
        _write_wav(wav, aided[0] + aided[1])
        if in_open_track(split, listener, system):
            layouts.link(wav, data / "HA_outputs" / f"{split}_indep" / wav.name)
        target, interferer = (part[start:stop] for part in aided)
        heard = listeners.answer(scene.prompt, listener, target, interferer, rng)
        chances[signal] = heard.chance  # of repeating each word, which no listening test knows
        responses.append(
            {
                "prompt": scene.prompt,
                "scene": scene.name,
                "n_words": heard.n_words,
                "hits": heard.hits,
                "listener": listener,
                "system": system,
                "correctness": 100 * heard.hits / heard.n_words,
                "response": heard.response,
                "volume": 50,
                "signal": signal,
            }
        )
    entry = _scene_entry(split, scene, start, stop, len(parts[0]))
    return entry | {"chances": chances}, responses


def in_open_track(split: str, listener: str, system: str) -> bool:
    """Return whether a signal belongs to the open track: unseen in test, seen in training."""
    unseen = listener in HELD_OUT_LISTENERS or system == HELD_OUT_SYSTEM
    return unseen == (split == "test")


def _scene_entry(split: str, scene: scenes.Scene, start: int, stop: int, length: int) -> dict:
    return {
        "dataset": split,
        "scene": scene.name,
        "target": {"name": scene.voice, "time_start": start, "time_end": stop},
        "duration": length,
        "interferer": {"type": scene.interferer, "azimuths": list(scene.interferer_azimuths)},
        "azimuth_target_listener": scene.target_azimuth,
        "SNR": scene.snr,
        "notice": "synthetic speech, simulated listeners; see README.md",
    }


def _write_metadata(archive: Path, split: str, rows: list[tuple[dict, list[dict]]]) -> None:
    metadata = archive / "metadata"
    responses = [response for _, heard in rows for response in heard]
    open_track = [r for r in responses if in_open_track(split, r["listener"], r["system"])]
    write_json(metadata / f"CPC1.{split}.json", responses)
    write_json(metadata / f"CPC1.{split}_indep.json", open_track)
    write_json(metadata / f"scenes.CPC1_{split}.json", [entry for entry, _ in rows])
    people = {}
    for name in listeners.LISTENERS:
        left, right = listeners.audiograms(name)
        people[name] = {
            "name": name,
            "audiogram_cfs": list(left),
            "audiogram_levels_l": list(left.values()),
            "audiogram_levels_r": list(right.values()),
        }
    write_json(metadata / LISTENER_FILES[split], people)
    write_text(archive / "README.md", NOTICE)


def _write_wav(path: Path, signal: np.ndarray) -> None:
    # 16 bits end at 0 dB FS, here 120 dB SPL: the aid's maximum output.
    sf.write(path, np.clip(signal, -1, 1), speech.SAMPLE_RATE, subtype="PCM_16")


def main() -> None:
    """Build the miniature, unless it is there as these settings make it."""
    parser = argparse.ArgumentParser(description="Build the miniature of CPC1.")
    parser.add_argument("--folder", type=Path, help=f"where it is written (default: {FOLDER})")
    parser.add_argument(
        "--seed", type=int, default=Settings.seed, help="of all random draws (%(default)s)"
    )
    parser.add_argument("--n-jobs", type=int, default=-1, help="processes; -1: one per core")
    parser.add_argument("--layout", choices=layouts.LAYOUTS, default="cpc1", help="(%(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = options.folder or FOLDER.with_name(FOLDERS[options.layout])
    new = build(folder, Settings(seed=options.seed, layout=options.layout), options.n_jobs)
    name = options.layout.upper()
    logger.info("%s the miniature of %s in %s", "Wrote" if new else "Found", name, folder)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("Stopped: nothing was kept; the same command starts again", file=sys.stderr)
        sys.exit(130)
