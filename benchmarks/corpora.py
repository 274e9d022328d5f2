"""How long do the check and the evaluation of a corpus of CPC3's size take?

    python -m benchmarks.corpora            # 24,120 signals: 15,520 to train on, 8,600 to test on
    python -m benchmarks.corpora 1000

Prints the time by the clock, the CPU time and the peak memory of `prepare_data.py check_only=true`
and of `evaluate.py` with all measures. Every signal and reference is a link to one wav, since the
check reads headers only. Names, similarities and responses are invented.
"""

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

import intelligibility.command_line  # noqa: F401 -- registers what config.yaml refers to
from benchmarks.made.cost import cost_of
from benchmarks.made.release import babble, write
from intelligibility.corpora import read_archives
from intelligibility.corpora.presentation import write_presentations
from intelligibility.experiment import Experiment
from intelligibility.measures import MEASURES
from intelligibility.runs import RECIPE, write_json

SIZES = {"train": 15520, "dev": 926, "eval": 7674}
GRADES = ("Mild", "Moderate", "Moderately severe")
SIGNALS_PER_SCENE = 11  # of the training, as in CPC3


def make_cpc3(root: Path, sizes: dict[str, int]) -> None:
    """Write a release of CPC3 in which every sound is the same."""
    rng = np.random.default_rng(0)
    data = root / "clarity_CPC3_data/clarity_data"
    write(root / "one.wav", babble(rng, 3.0, 32000), 32000)
    people = [f"L{number:04d}" for number in range(26)]
    rows = [f"{name},{GRADES[number % 3]}" for number, name in enumerate(people)]
    (data / "metadata").mkdir(parents=True)
    (data / "metadata/listeners.csv").write_text("\n".join(["listener_id,severity", *rows]))
    for part, n_signals in sizes.items():
        for kind in ("signals", "references"):
            (data / part / kind).mkdir(parents=True)
        entries, references = [], set()
        for number in range(n_signals):
            scene = f"S{number // SIGNALS_PER_SCENE:05d}"
            name = f"CEC{1 + number % 2}_E{number % 10:03d}_{scene}_{people[number % 26]}"
            reference = f"CEC{1 + number % 2}_{scene}_ref"
            entry = {"signal": name, "prompt": f"words of {scene}", "n_words": 5}
            if part != "train":
                name = f"{part}{number:020d}"
                reference = f"{name}_ref"
                entry |= {"signal": name, "hearing_loss": GRADES[number % 3]}
            entries.append(entry | {"correctness": 20.0 * int(rng.integers(6))})
            os.link(root / "one.wav", data / part / "signals" / f"{name}.wav")
            if reference not in references:
                references.add(reference)
                os.link(root / "one.wav", data / part / "references" / f"{reference}.wav")
        (data / "metadata" / f"CPC3.{part}.json").write_text(json.dumps(entries))


def make_similarities(root: Path, exp: Path) -> None:
    """Write what prepare_data.py and infer.py leave behind, without the ear signals."""
    rng = np.random.default_rng(1)
    with initialize_config_dir(str(RECIPE), version_base="1.3"):
        cfg = compose("config", ["corpus=cpc3", f"path.root='{root}'", f"path.exp_folder='{exp}'"])
    archives = read_archives(cfg, "")
    used = {
        name: [replace(one, lead_in=1.0) for one in archive.presentations]
        for name, archive in archives.items()
    }
    experiment = Experiment.from_config(cfg)
    write_presentations(experiment.presentations, used, {})
    scenes = archives["train"].scenes
    dev = scenes[: round(0.3 * len(scenes))]
    write_json(experiment.scene_list("dev"), dev)
    held_out = set(dev)
    splits = {"dev": [one for one in used["train"] if one.scene in held_out], "test": used["test"]}
    for split, ones in splits.items():
        for measure in MEASURES:
            noise = rng.normal(0, 0.1, len(ones))
            values = {
                one.name: float(np.clip(0.5 + (one.correctness or 0) / 250 + drawn, 0, 1))
                for one, drawn in zip(ones, noise, strict=True)
            }
            write_json(experiment.measure_file(split, measure.name), values)
    write_json(experiment.inference, {})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("signals", nargs="?", type=int, default=sum(SIZES.values()))
    n_signals = parser.parse_args().signals
    sizes = {part: n * n_signals // sum(SIZES.values()) for part, n in SIZES.items()}
    with tempfile.TemporaryDirectory() as folder:
        root, exp = Path(folder), Path(folder) / "exp"
        make_cpc3(root, sizes)
        corpus = ("corpus=cpc3", f"path.root={root}", f"path.exp_folder={exp}")
        print(f"{n_signals} signals")
        print(
            "check_only    ",
            cost_of("prepare_data.py", *corpus, "check_only=true", "from_scratch=true"),
        )
        make_similarities(root, exp)
        print("evaluate.py   ", cost_of("evaluate.py", *corpus))


if __name__ == "__main__":
    main()
