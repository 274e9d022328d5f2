"""What the recipe promises to those who extend it, tried in a temporary copy of it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from benchmarks.made.experiment import make_experiment
from benchmarks.made.release import babble, dump
from intelligibility.runs import read_json, write_json
from tests.conftest import RECIPE, run_script
from tests.prepared_data import write_tables


@pytest.fixture
def copy(tmp_path) -> Path:
    """Return a copy of the recipe's code and configuration."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    for path in (*RECIPE.glob("*.py"), *RECIPE.glob("*.yaml")):
        shutil.copy(path, folder)
    for room in ("intelligibility", "msbg"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(RECIPE / room, folder / room, ignore=ignored)
    return folder


def insert(path: Path, before: str, text: str) -> None:
    """Insert text before a line that stands in a file once."""
    code = path.read_text(encoding="utf-8")
    assert code.count(before) == 1
    path.write_text(code.replace(before, text + before), encoding="utf-8")


def run(copy: Path, script: str, *arguments: str) -> str:
    """Run a script of the copy; return what it logs."""
    done = run_script(copy / script, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def prepare(exp_folder: Path, names: dict[str, list[str]]) -> None:
    """Write the signals of each split as prepare_data.py leaves them."""
    rng = np.random.default_rng(0)
    for split, signals in names.items():
        signals = dict.fromkeys(signals, (0.5, "SIX OF"))
        data = exp_folder / "cpc1_asr_data"
        write_tables(data, split, signals, lambda *_: rng.standard_normal(8000))


SPECTRA = '''
"""A recogniser of one spectrum per 10 ms, which always understands the same word."""

from intelligibility.recognisers.recognition import Recognition
from intelligibility.words import marked_words


class Spectra:
    lengths = (400, 160000)
    marked_words = staticmethod(marked_words)

    def recognise(self, signals, texts=None, words=None):
        for signal in signals:
            spectra = signal.unfold(0, 400, 160).abs().log()
            layers = {"encoder": spectra, "decoder": spectra[::9]}
            yield Recognition(layers, "SIX", clocks={"decoder": "words"})


def made_by():
    return {"checkpoint_sha256": "0" * 64, "checkpoints": ["spectra"], "settings": {"hop": 160}}


def load(device):
    return Spectra()
'''
CHOICE = """    if cfg.recogniser == "spectra":
        from intelligibility.recognisers import spectra

        return StoredRecogniser(spectra.made_by, spectra.load)
"""


def test_a_kind_of_recogniser_is_its_own_file_and_a_branch(copy, tmp_path):
    """infer.py measures with it: what it has, aligned where its own record says so."""
    room, exp_folder = copy / "intelligibility/recognisers", tmp_path / "exp"
    (room / "spectra.py").write_text(SPECTRA)
    insert(room / "__init__.py", "    return stored_on_hub(", CHOICE)
    prepare(exp_folder, {"dev": ["S1_L1_E1"], "test": ["S2_L1_E1"]})
    options = [f"path.exp_folder={exp_folder}", "recogniser=spectra", "device=cpu", "n_jobs=1"]
    run(copy, "infer.py", *options)
    results = exp_folder / "spectra"
    assert read_json(results / "test_wcs_correctness.json") == {"S2_L1_E1": 0.5}
    for name in ("enc", "dec"):
        assert 0 < read_json(results / f"test_{name}_similarity.json")["S2_L1_E1"] < 1
    assert not (results / "test_pre_similarity.json").exists()
    assert "2 of 2 signals are done already" in run(copy, "infer.py", *options)


LINE = '''
"""The curve from similarity to percent words correct: a straight line, clipped."""

from dataclasses import dataclass

import numpy as np

CURVE = "straight line"
MIN_SIGNALS = 3


@dataclass(frozen=True)
class Curve:
    offset: float
    gain: float

    def predict(self, similarity):
        return np.clip(self.offset + self.gain * np.asarray(similarity), 0, 100)

    def __str__(self):
        return f"{self.offset:.1f} % + {self.gain:.1f} % of the similarity"


def fit_curve(similarity, correctness):
    gain, offset = np.polyfit(similarity, correctness, 1)
    return Curve(float(offset), float(gain))
'''
LEGENDS = """
from matplotlib.figure import Figure
legend = Figure.legend
def shown(figure, handles, labels, **options):
    print("legend:", labels)
    return legend(figure, handles, labels, **options)
Figure.legend = shown
import runpy
runpy.run_path(__file__.replace("legends", "evaluate"), run_name="__main__")
"""


PREDICTS = """
import sys
from intelligibility.evaluation.mapping import FittedMapping
print(FittedMapping.read(sys.argv[1]).predict("dec", 0.8))
"""


def test_another_mapping_is_its_own_file(copy, tmp_path):
    """evaluate.py fits, applies, stores, draws and names it; of layers too; others read it."""
    for name, code in (
        ("intelligibility/evaluation/curve", LINE),
        ("legends", LEGENDS),
        ("predicts", PREDICTS),
    ):
        (copy / f"{name}.py").write_text(code)
    exp_folder = make_experiment(tmp_path)
    similarity = {
        split: read_json(exp_folder / f"{split}_dec_similarity.json") for split in ("dev", "test")
    }
    for split in ("dev", "test"):
        layers = {"decoder.1": similarity[split]}
        write_json(exp_folder / f"{split}_layers_similarity.json", layers)
    paths = [f"path.root={tmp_path}", f"path.exp_folder={exp_folder}"]
    said = run(copy, "legends.py", *paths)
    assert "decoder: " in said and "% of the similarity" in said and "fitted straight line" in said
    predictions = pd.read_csv(exp_folder / "predictions.csv").set_index("signal")
    fit = read_json(exp_folder / "calibration.json")["measures"]["dec"]
    expected = np.clip(fit["offset"] + fit["gain"] * predictions["dec_similarity"], 0, 100)
    np.testing.assert_allclose(predictions["dec_prediction"], expected, atol=1e-9)
    results = read_json(exp_folder / "results.json")
    of_layer = results["layers"]["scores"]["decoder.1"]["test"]["RMSE"]
    assert of_layer == pytest.approx(results["dec_results"]["RMSE"])
    assert "straight line" in (exp_folder / "report.html").read_text()
    assert "logistic" not in (exp_folder / "report.html").read_text()
    predicted = run(copy, "predicts.py", str(exp_folder / "calibration.json"))  # as score.py does
    assert float(predicted) == pytest.approx(fit["offset"] + 0.8 * fit["gain"])


TABLE = '''
"""A corpus of one table: a row per recording, and a severity in place of an audiogram."""

import csv

from intelligibility.corpora.clarity import configured
from intelligibility.corpora.corpus import Corpus
from intelligibility.corpora.listeners import stand_in
from intelligibility.corpora.presentation import Archive, Presentation


def read(cfg, track):
    path = configured(cfg, "sheet")
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    splits = {"train": ("train", "dev"), "test": ("test",)}
    return {
        name: archive(path, [row for row in rows if row["split"] in splits[name]])
        for name in splits
    }


def archive(path, rows):
    presentations = [
        Presentation(
            name=row["name"],
            scene=row["scene"],
            listener=stand_in(row["severity"], row["severity"]),
            system=row["system"],
            prompt=row["text"],
            correctness=float(row["correctness"]),
            processed=path.with_name(row["processed"]),
            reference=path.with_name(row["reference"]),
            lead_in=None,
        )
        for row in rows
    ]
    dev = sorted(row["scene"] for row in rows if row["split"] == "dev")
    return Archive(path, presentations, sorted(row["scene"] for row in rows), dev_scenes=dev)


CORPUS = Corpus("sheet", read, lambda cfg, track, test: [], {"train": "sheet", "test": "sheet"})
'''
COLUMNS = "name,scene,split,severity,system,text,correctness,processed,reference"


def make_table(folder: Path) -> Path:
    """Write two wavs, and a table in which ten recordings are made of them."""
    rng = np.random.default_rng(0)
    for name in ("processed", "reference"):
        sound = np.concatenate([np.zeros((14000, 2)), babble(rng, 2.2, 32000)])
        sf.write(folder / f"{name}.wav", sound, 32000)
    lines = [COLUMNS]
    for number, split in enumerate(["train", *["dev"] * 5, *["test"] * 4]):
        row = f"R{number},S{number},{split},Mild,E{number % 2},six of it,{10 * number}"
        lines.append(f"{row},processed.wav,reference.wav")
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "table.csv"


def test_a_corpus_is_its_own_file_and_an_entry_in_the_list(copy, tmp_path):
    """It is prepared with its own split, measured, mapped and scored."""
    room, exp_folder = copy / "intelligibility/corpora", tmp_path / "exp"
    (room / "sheet.py").write_text(TABLE)
    listing = (room / "__init__.py").read_text(encoding="utf-8")
    assert listing.count("cpc3.CORPUS") == 1
    listing = listing.replace("import cpc1,", "import sheet, cpc1,")
    listing = listing.replace("cpc3.CORPUS", "cpc3.CORPUS, sheet.CORPUS")
    (room / "__init__.py").write_text(listing, encoding="utf-8")
    insert(copy / "config.yaml", "  listeners: null", "  sheet: null\n")
    options = ["corpus=sheet", f"path.sheet={make_table(tmp_path)}", "hearing_loss=none"]
    options += [f"path.exp_folder={exp_folder}"]
    said = run(copy, "prepare_data.py", *options, "n_jobs=1")
    assert "1 training and 5 dev scenes" in said
    results = next(exp_folder.glob("*/sheet_asr_data")).parent
    assert len(list(results.glob("sheet_asr_data/*/left_msbg/*.wav"))) == 10
    for split, numbers in (("dev", range(1, 6)), ("test", range(6, 10))):
        for measure in ("enc", "dec"):
            similarities = {f"R{n}": 0.5 + 0.03 * n + 0.02 * (n % 3) for n in numbers}
            dump(results / f"{split}_{measure}_similarity.json", similarities)
    dump(results / "inference.json", {})
    run(copy, "evaluate.py", *options)
    assert read_json(results / "results.json")["counts"]["test"]["matched"] == 4
    assert "<title>" in (results / "report.html").read_text(encoding="utf-8")


ALIGNED = '    Measure("aligned", "encoder, aligned in time", "encoder", "words"),\n'


def test_a_measure_is_a_row(copy, tmp_path):
    """infer.py measures anew and writes its files; evaluate.py maps it and tabulates it."""
    exp_folder = make_experiment(tmp_path, n_scenes=4, per_scene=3)
    names = {
        split: sorted(read_json(exp_folder / f"{split}_dec_similarity.json"))
        for split in ("dev", "test")
    }
    prepare(exp_folder, names)
    room = copy / "intelligibility"
    (room / "recognisers/spectra.py").write_text(SPECTRA)
    insert(room / "recognisers/__init__.py", "    return stored_on_hub(", CHOICE)
    paths = [f"path.root={tmp_path}", f"path.exp_folder={exp_folder}", "recogniser=spectra"]
    run(copy, "infer.py", *paths[1:], "device=cpu", "n_jobs=1")
    results = exp_folder / "spectra"
    before = read_json(results / "test_enc_similarity.json")

    insert(room / "measures.py", "    # Not in the paper", ALIGNED)
    said = run(copy, "infer.py", *paths[1:], "device=cpu", "n_jobs=1")
    assert "signals to be done anew, since these changed: {'measures':" in said
    assert read_json(results / "test_enc_similarity.json") == before
    aligned = read_json(results / "test_aligned_similarity.json")
    assert list(aligned) == names["test"] and aligned != before
    run(copy, "evaluate.py", *paths)
    assert set(pd.read_csv(results / "predictions.csv")) > {"aligned_similarity"}
    assert "aligned_results" in read_json(results / "results.json")
    assert "encoder, aligned in time" in (results / "report.html").read_text()
