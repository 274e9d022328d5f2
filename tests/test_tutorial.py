"""docs/tutorial.ipynb runs from its first cell to its last, on a small miniature."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from benchmarks.made.recogniser import make_recogniser
from demo.make_miniature import Settings, build
from demo.speech import MATRIX
from tests.conftest import RECIPE, run_script
from tests.prepared_data import SIZES

TUTORIAL = RECIPE / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Path:
    """Return an experiment on a miniature of 8 and 3 scenes, with a random recogniser."""
    folder = tmp_path_factory.mktemp("tutorial")
    build(folder / "data", Settings(n_train_scenes=8, n_test_scenes=3), n_jobs=1)
    exp = folder / "exp"
    words = [word.upper() for column in MATRIX for word in column]
    make_recogniser(exp / "transformer_cpc1", words=words)
    where = f"path.exp_folder={exp}"
    for script, more in (
        ("prepare_data.py", [f"path.root={folder}/data", "dev_percent=0.7", "n_jobs=1"]),
        ("infer.py", [*SIZES, "n_jobs=1", "device=cpu"]),
        ("evaluate.py", []),
    ):
        result = run_script(script, where, *more)
        assert result.returncode == 0, result.stdout + result.stderr
    return exp


@pytest.fixture(scope="module")
def outputs(experiment) -> list:
    """Return what the notebook's cells give."""
    notebook = nbformat.read(TUTORIAL, as_version=4)
    path = next(cell for cell in notebook.cells if "EXPERIMENT = " in cell.source)
    path.source, replaced = re.subn(
        r'Path\("../demo/exp"\)', lambda _: f"Path({str(experiment)!r})", path.source
    )
    assert replaced == 1
    where = {"metadata": {"path": str(TUTORIAL.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    return [one for cell in notebook.cells for one in cell.get("outputs", [])]


def of_kind(outputs: list, kind: str) -> list:
    return [one["data"][kind] for one in outputs if kind in one.get("data", {})]


def test_it_shows_sounds_pictures_and_tables(outputs):
    pages = of_kind(outputs, "text/html")
    assert sum("<audio" in page for page in pages) == 4
    assert sum("<table" in page for page in pages) == 3
    assert len(of_kind(outputs, "image/png")) == 2


def test_no_package_warns_in_it(outputs):
    said = [one["text"] for one in outputs if one.get("name") == "stderr"]
    assert [text for text in said if "Warning" in text] == []


def test_it_gives_what_score_gives(outputs, experiment):
    """The table of the challenge's signals holds the numbers of predictions.csv."""
    table = next(page for page in of_kind(outputs, "text/plain") if "answered, %" in page)
    lines = (experiment / "predictions.csv").read_text().splitlines()
    header = lines[0].split(",")
    for line in lines[1:]:
        one = dict(zip(header, line.split(","), strict=True))
        assert one["signal"] in table
    assert len(lines) == 7
