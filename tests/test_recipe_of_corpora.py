"""The four stages on one small release in the layouts of three corpora, and as a table.

The sounds are the same, and speech begins where the cut of CPC2 and CPC3 comes to CPC1's two
seconds: where the audiogram is the same too, so are the similarities.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import infer
import prepare_data
from benchmarks.made.recogniser import make_recogniser
from benchmarks.made.release import dump, make_release
from demo.layouts import LAYOUTS, lay_out
from intelligibility.corpora.presentation import read_presentations
from intelligibility.onset import FRAME, MARGIN
from tests.conftest import configure, run_script
from tests.prepared_data import SIZES, TRAINING_SIZES, measures

BEGINS = 2.0 + MARGIN + FRAME / 2  # s; the envelope rises in the frame before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layouts of one release, each prepared and inferred with one recogniser."""
    folder = tmp_path_factory.mktemp("corpora")
    make_release(folder / "cpc1", n_train=6, n_test=2, seconds=2.9)
    for reference in folder.glob("cpc1/*/clarity_data/scenes/*.wav"):
        signal, rate = sf.read(reference)
        signal[: round(BEGINS * rate)] = 0
        sf.write(reference, signal, rate, subtype="PCM_16")
    for path in folder.glob("cpc1/*/metadata/CPC1.*.json"):  # responses that a logistic can fit
        entries = json.loads(path.read_text())
        prompts = {entry["scene"]: entry["prompt"] for entry in entries}  # one of each scene
        for number, entry in enumerate(entries):
            entry |= {"hits": number % 6, "correctness": 20.0 * (number % 6)}
            entry["prompt"] = prompts[entry["scene"]]
        dump(path, entries)
    make_recogniser(folder / "asr")
    for corpus in LAYOUTS:
        if corpus != "cpc1":
            lay_out(folder / "cpc1", folder / corpus, corpus)
        for stage in (prepare_data, infer):
            stage.run(configuration(folder, corpus))
    return folder


def configuration(folder: Path, corpus: str):
    """Return the configuration of one layout."""
    options = [f"corpus={corpus}", "dev_percent=0.67", f"path.asr_folder='{folder / 'asr'}'"]
    if corpus in ("cpc3", "table"):
        options.append(f"path.listeners='{folder / corpus / 'listeners.json'}'")
    if corpus == "table":
        options.append(f"path.table='{folder / 'table/listening_test.csv'}'")
    return configure(folder / corpus, folder / f"exp_{corpus}", *options, *SIZES)


def similarities(folder: Path, corpus: str, split: str) -> dict[str, dict[str, float]]:
    """Return every measure of a split, {measure: {signal: value}}."""
    exp = folder / f"exp_{corpus}"
    return {name: measures(exp, split, name) for name in ("enc", "dec", "pre", "wcs")}


def test_the_cut_is_the_same(folder: Path) -> None:
    """The onset that was found, less the margin, is CPC1's two seconds."""
    for corpus in LAYOUTS:
        used = read_presentations(folder / f"exp_{corpus}/presentations.json")
        lead_ins = {one.lead_in for archive in used.values() for one in archive}
        assert list(lead_ins) == [pytest.approx(2.0, abs=1e-9)]


def test_cpc2_measures_what_cpc1_does(folder: Path) -> None:
    first, second = (similarities(folder, corpus, "test") for corpus in ("cpc1", "cpc2"))
    assert len(first["dec"]) == 4
    assert second == first


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_table_measures_what_cpc1_does(folder: Path, split: str) -> None:
    """Its start and delay columns make it cut as CPC1 is."""
    first, second = (similarities(folder, corpus, split) for corpus in ("cpc1", "table"))
    assert len(first["dec"]) == {"dev": 8, "test": 4}[split]
    assert second == first


def test_cpc3_measures_what_cpc2_does(folder: Path) -> None:
    """With the listeners' own audiograms, the dev signals of CPC3 are those of CPC2."""
    second, third = (similarities(folder, corpus, "dev") for corpus in ("cpc2", "cpc3"))
    renamed = {}
    for measure, values in third.items():
        parts = {name: name.split("_") for name in values}
        renamed[measure] = {f"{p[2]}_{p[3]}_{p[1]}": values[name] for name, p in parts.items()}
    assert len(second["dec"]) == 8
    assert renamed == second


def test_another_audiogram_makes_another_similarity(folder: Path) -> None:
    """Signals of CPC3's dev and eval went through the audiogram of their severity."""
    first, third = (
        set(similarities(folder, corpus, "test")["dec"].values()) for corpus in ("cpc1", "cpc3")
    )
    assert len(third) == 4
    assert not first & third


def test_a_second_run_makes_nothing(folder: Path) -> None:
    for corpus in LAYOUTS[1:]:
        wavs = sorted((folder / f"exp_{corpus}").rglob("*.wav"))
        before = [wav.stat().st_mtime_ns for wav in wavs]
        prepare_data.run(configuration(folder, corpus))
        assert [wav.stat().st_mtime_ns for wav in wavs] == before


@pytest.mark.parametrize("corpus", LAYOUTS[1:])
def test_training_and_evaluation(folder: Path, corpus: str, tmp_path: Path) -> None:
    exp = Path(shutil.copytree(folder / f"exp_{corpus}", tmp_path / "exp"))
    arguments = [f"corpus={corpus}", f"path.exp_folder={exp}"]
    evaluated = run_script("evaluate.py", *arguments)
    assert evaluated.returncode == 0, evaluated.stderr
    results = json.loads((exp / "results.json").read_text())
    sets = {"cpc2": ["1", "2"], "cpc3": ["dev", "eval"], "table": []}
    assert list(results["sets"]) == sets[corpus]
    assert results["counts"]["test"]["matched"] == 4
    assert all(np.isfinite(results[f"{name}_results"]["RMSE"]) for name in ("enc", "dec"))

    trained = run_script("train_asr.py", *arguments, "from_scratch=true", *TRAINING_SIZES)
    assert trained.returncode == 0, trained.stderr
    assert (exp / f"transformer_{corpus}/train_log.txt").is_file()
    evaluated = run_script("evaluate.py", *arguments)
    assert "the recogniser was trained since; run infer.py again" in evaluated.stderr


def test_corpora_do_not_share_a_folder(folder: Path, refused) -> None:
    cfg = configuration(folder, "cpc2")
    cfg.path.exp_folder = str(folder / "exp_cpc1")
    assert "holds an experiment on cpc1" in refused(prepare_data.run, cfg)
