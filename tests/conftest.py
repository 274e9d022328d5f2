"""A release in the CPC1 layout, small enough to make for a test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import intelligibility.command_line  # noqa: F401 -- registers what config.yaml refers to

RECIPE = Path(__file__).resolve().parent.parent
SHARED = RECIPE.parent / "shared"
LEVELS = {"L0001": [15, 20, 25, 35, 45, 50, 60, 65], "L0002": [40, 45, 50, 60, 65, 75, 80, 85]}
WORDS = ["anna", "keeps", "two", "old", "boats", "peter", "sells", "nine", "red", "cups"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    """Drop SpeechBrain's placeholders for modules that are not installed, such as k2.

    Hypothesis looks at every loaded module, and a look at one of these raises.
    """
    for name, module in list(sys.modules.items()):
        if type(module).__module__ == "speechbrain.utils.importutils":
            del sys.modules[name]


def make_release(
    root: Path, n_train: int = 4, n_test: int = 2, rate: int = 44100, seconds: float = 2.2
) -> Path:
    """Write both archives with both tracks; every scene is heard by two listeners."""
    rng = np.random.default_rng(0)
    for split, n_scenes, listeners_file in (
        ("train", n_train, "listeners.CPC1_train.json"),
        ("test", n_test, "listeners.CPC1_all.json"),
    ):
        archive = root / f"clarity_CPC1_data_{split}"
        (archive / "metadata").mkdir(parents=True)
        entries = []
        for number in range(n_scenes):
            scene = f"S{'12'[split == 'test']}{number:04d}"
            target = babble(rng, seconds, 44100)
            write(archive / f"clarity_data/scenes/{scene}_target_anechoic.wav", target, 44100)
            for listener, level in zip(LEVELS, (0.02, 0.2), strict=True):
                signal = f"{scene}_{listener}_E001"
                noisy = babble(rng, seconds, rate) + level * rng.standard_normal(
                    (int(seconds * rate), 2)
                )
                for track in ("", "_indep"):
                    folder = archive / f"clarity_data/HA_outputs/{split}{track}"
                    write(folder / f"{signal}.wav", noisy, rate)
                hits = int(rng.integers(6))
                entries.append(
                    {
                        "prompt": " ".join(rng.choice(WORDS, 5)),
                        "scene": scene,
                        "n_words": 5,
                        "hits": hits,
                        "listener": listener,
                        "system": "E001",
                        "correctness": 20.0 * hits,
                        "response": "",
                        "volume": 50,
                        "signal": signal,
                    }
                )
        for track in ("", "_indep"):
            dump(archive / f"metadata/CPC1.{split}{track}.json", entries)
        dump(archive / "metadata" / listeners_file, listeners())
    return root


def listeners() -> dict:
    """Return the listeners' file."""
    return {
        name: {
            "name": name,
            "audiogram_cfs": [250, 500, 1000, 2000, 3000, 4000, 6000, 8000],
            "audiogram_levels_l": levels,
            "audiogram_levels_r": [level + 5 for level in levels],
        }
        for name, levels in LEVELS.items()
    }


def babble(rng: np.random.Generator, seconds: float, rate: int) -> np.ndarray:
    """Return noise with the slow fluctuation of speech, (n_samples, 2)."""
    n_samples = int(seconds * rate)
    envelope = 1 + np.sin(2 * np.pi * 4 * np.arange(n_samples) / rate)
    return 0.02 * envelope[:, None] * rng.standard_normal((n_samples, 2))


def write(path: Path, signal: np.ndarray, rate: int) -> None:
    """Write 16-bit audio, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, signal, rate, subtype="PCM_16")


def dump(path: Path, content: object) -> None:
    """Write json."""
    path.write_text(json.dumps(content), encoding="utf-8")


def edit(path: Path, change: object) -> None:
    """Read json, let `change` alter it in place, and write it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    dump(path, content)


def run_script(
    script: str, *overrides: str, cwd: Path | None = None
) -> subprocess.CompletedProcess:
    """Run a stage as a user does, from a terminal."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(RECIPE / script), *overrides],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=600,
        check=False,
    )


def configure(root: Path, exp_folder: Path, *overrides: str) -> DictConfig:
    """Return config.yaml as a stage gets it, without starting a process."""
    paths = [f"path.root='{root}'", f"path.exp_folder='{exp_folder}'", "n_jobs=1"]
    with initialize_config_dir(str(RECIPE), version_base="1.3"):
        return compose("config", [*paths, *overrides])


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Return the folder of a fresh small release."""
    return make_release(tmp_path / "cpc1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference material, which lies beside some checkouts only."""
    if not SHARED.is_dir():
        pytest.skip("no reference material beside this checkout")
    return SHARED
