"""What `pip install .` installs: msbg and intelligibility, and no script of the recipe."""

import json
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

pytest.importorskip("setuptools", "77", reason="older ones cannot read pyproject.toml")
RECIPE = Path(__file__).resolve().parents[2]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel, built without network from a copy, beside which nothing else lies."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(
        RECIPE, folder / "source", ignore=lambda at, names: [n for n in names if not kept(at, n)]
    )
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder)]
    result = subprocess.run([*PIP, *build, str(source)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = folder.glob("*.whl")
    return built


def kept(folder: str, name: str) -> bool:
    """Say whether a file is of the recipe's own code: all of it, so that none slips in."""
    at_the_root = Path(folder) == RECIPE
    return name in ("msbg", "intelligibility", "demo", "LICENSE", "pyproject.toml") or (
        name.endswith(".py") or (not at_the_root and name != "__pycache__")
    )


def test_it_holds_two_packages(wheel: Path) -> None:
    """All modules and what they read, the licence, and the build's own records."""
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name) for name in archive.namelist()}
        metadata = message_from_bytes(archive.read("msbg-1.0.0.dist-info/METADATA"))
    packages = ("msbg", "intelligibility")
    code = {name for name in names if name.parts[0] in packages}
    ours = {
        path.relative_to(RECIPE)
        for package in packages
        for path in (RECIPE / package).rglob("*")
        if path.suffix in (".py", ".html", ".json")
    }
    assert code == ours
    assert {name.parts[0] for name in names - code} == {"msbg-1.0.0.dist-info"}
    assert "LICENSE" in {name.name for name in names}
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(line.split(">")[0] for line in required) == ["numba", "numpy", "scipy"]
    assert set(metadata.get_all("Provides-Extra")) == {"predict", "hub"}
    assert metadata["Requires-Python"] == ">=3.11"


def printed_away_from_the_recipe(wheel: Path, folder: Path, *lines: str) -> list:
    """Run lines on the wheel in an empty folder, nothing of ours on the path; read their json."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    run = [sys.executable, "-E", "-s", "-c", "import sys, json\n" + "\n".join(lines)]
    result = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_it_simulates_away_from_the_recipe(wheel: Path, tmp_path: Path) -> None:
    file, shape, modules = printed_away_from_the_recipe(
        wheel,
        tmp_path,
        "import numpy as np, msbg",
        "listener = msbg.Listener(msbg.Audiogram([50] * 8), msbg.Audiogram([20] * 8))",
        "heard = msbg.simulate(np.ones((1000, 2)), listener)",
        "print(json.dumps([msbg.__file__, heard.shape, sorted(sys.modules)]))",
    )
    assert Path(file).is_relative_to(tmp_path) and shape == [1216, 2]
    others = {"intelligibility", "demo", "torch", "speechbrain", "soundfile", "pandas", "hydra"}
    assert not others & set(modules)


def test_it_predicts_away_from_the_recipe(wheel: Path, tmp_path: Path) -> None:
    """The built-in prediction finds its mapping in the wheel, and no torch is loaded."""
    pytest.importorskip("clarity", reason="needs requirements-baselines.txt")
    file, n_signals, torch = printed_away_from_the_recipe(
        wheel,
        tmp_path,
        "from intelligibility.prediction import predictor",
        "found = predictor.Predictor.builtin()",
        "print(json.dumps([predictor.__file__, found.n_signals, 'torch' in sys.modules]))",
    )
    assert Path(file).is_relative_to(tmp_path) and n_signals == 15520 and not torch
