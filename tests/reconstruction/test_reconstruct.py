"""The script from tables to page, on the toy language and a judge that knows its words."""

import csv
import inspect
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from benchmarks.made.recogniser import make_recogniser
from intelligibility.command_line import check_ranges, resolved
from intelligibility.corpora.presentation import Presentation, write_presentations
from intelligibility.experiment import Experiment, write_table
from intelligibility.runs import RecipeError, read_json
from msbg import Audiogram, Listener
from reconstruction import configured, jobs, reconstruct
from reconstruction.configured import Judge, ReconstructionSettings, layer_settings
from reconstruction.jobs import read_heard
from reconstruction.networks import VGGish
from reconstruction.scoring import COLUMNS, rows_of
from tests.conftest import configure, run_script
from tests.prepared_data import SIZES
from tests.reconstruction.toy import ToyRecogniser, make_ears

LISTENERS = {
    "L1": Listener(Audiogram([20] * 8), Audiogram([20] * 8), "L1"),
    "L2": Listener(Audiogram([60] * 8), Audiogram([60] * 8), "L2"),
}
OWN = {"own": "reconstruction/config.yaml", "settings": ReconstructionSettings}
SMALL = (
    *("device=cpu", "network=smallenc", "layers=[pool1,fc]"),
    *("reconstruct.n_train=40", "reconstruct.n_scored=8", "reconstruct.n_floors=2"),
    *("reconstruct.steps=20", "reconstruct.floor_steps=2", "reconstruct.batch=4"),
    *("reconstruct.ladder_divisor=8", "reconstruct.divisor=32", "reconstruct.width=16"),
    *("reconstruct.classifier_steps=4", "reconstruct.griffinlim_iterations=4"),
)


def make_experiment(exp_folder: Path, n_train: int = 12, n_test: int = 4, scenes: bool = True):
    """Write tables, ear signals and records as prepare_data.py leaves them."""
    experiment = Experiment(exp_folder, exp_folder / "transformer_cpc1")
    used = {}
    for split, first, n_scenes in (("train", 0, n_train), ("test", 500, n_test)):
        archive = exp_folder.parent / f"clarity_CPC1_data_{split}"
        ears = make_ears(experiment.data_folder / split, n_scenes, first, n_words=4)
        rows, entries, used[split] = {}, {}, []
        for ear in ears:
            side, name = ear.name.split("_", 1)
            for kind, wav in ear.wavs.items():
                row = {"ID": name, "duration": 1.0, "wav": wav, "spk_id": ear.listener}
                rows.setdefault((side, kind), []).append(row | {"wrd": ear.prompt})
            listener, clean = LISTENERS[ear.listener], f"clarity_data/scenes/{ear.scene}.wav"
            about = name, ear.scene, listener, ear.system, ear.prompt, 50.0
            if side == "left":
                used[split].append(Presentation(*about, archive / "x.wav", archive / clean, 2.0))
            entry = {"scene": ear.scene, "target": {"name": ear.labels["talker"] + "_G0N"}}
            entry |= {"interferer": {"type": "noise"}, "SNR": ear.labels["snr"]}
            entries[ear.scene] = entry
        for (side, kind), table in rows.items():
            write_table(experiment.table(side, split, kind), table)
        if scenes:
            (archive / "metadata").mkdir(parents=True)
            path = archive / "metadata" / f"scenes.CPC1_{split}.json"
            path.write_text(json.dumps(list(entries.values())))
    write_presentations(experiment.presentations, used, {"time": "now"})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Return an experiment that is ready."""
    exp_folder = tmp_path_factory.mktemp("prepared") / "exp"
    make_experiment(exp_folder)
    return exp_folder


@pytest.fixture(scope="module")
def finished(prepared) -> Path:
    """Return a folder of results of one run."""
    with pytest.MonkeyPatch.context() as patch:
        give_judge(patch)
        run(prepared)
    return prepared / "reconstruct"


@pytest.fixture
def exp(prepared, tmp_path) -> Path:
    """Return a copy of the experiment, with the results if there are any."""
    return shutil.copytree(prepared, tmp_path / "exp")


def give_judge(patch, recogniser=None) -> None:
    """Put a recogniser that knows the chords in place of a trained one."""
    patch.setattr(configured, "load_recogniser", lambda *_: recogniser or ToyRecogniser())
    patch.setattr(configured, "recogniser_made_by", lambda *_: {"checkpoint_sha256": "toy"})
    configured.judge_of_process.cache_clear()
    configured.network_of_process.cache_clear()


@pytest.fixture
def judge(monkeypatch) -> None:
    """Give a judge for one test."""
    give_judge(monkeypatch)


@pytest.fixture
def nothing_made(monkeypatch) -> None:
    """Fail where a classifier, controls or a layer would be made."""
    for name in ("invert_layer", "make_controls", "make_classifier"):
        monkeypatch.setattr(reconstruct, name, None)


def run(exp_folder: Path, *overrides: str) -> None:
    """Run the script in this process."""
    cfg = configure(exp_folder / "no release", exp_folder, *SMALL, *overrides, **OWN)
    check_ranges(cfg)
    inspect.unwrap(reconstruct.run)(cfg)


def table(folder: Path) -> list[dict[str, str]]:
    """Read results.csv."""
    with (folder / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_all_results_are_there(finished):
    found = {path.name for path in finished.iterdir() if not path.name.startswith(".")}
    assert found == {
        *("controls", "figures", "pages", "smallenc-talker"),
        *("results.csv", "results.json", "results.md", "index.html"),
    }
    rows = table(finished)
    assert list(rows[0])[: len(COLUMNS)] == list(COLUMNS)
    found = {(row["layer"], row["inverter"]) for row in rows}
    kinds = ("", ", untrained", ", shuffled")
    layers = {(layer, "reccnn" + kind) for layer in ("pool1", "fc") for kind in kinds}
    assert found == layers | {(kind, "") for kind in ("original", "copy", "bandmean")}
    groups = {(row["condition"], row["listener"]) for row in rows if row["inverter"] == "reccnn"}
    names = ("ALL", "MILD", "SEVERE", "L1", "L2")
    assert groups == {(condition, name) for condition in ("ref", "msbg") for name in names}


def test_the_index_lists_every_finished_layer_and_no_other(finished):
    page = (finished / "index.html").read_text()
    listed = re.findall(r'<tr id="([^"]+)"', page)
    done = sorted(str(path.parent.relative_to(finished)) for path in finished.rglob("layer.json"))
    expected = [f"smallenc-talker/{layer}/reccnn" for layer in ("fc", "pool1")]
    assert sorted(listed) == done == expected
    assert page.count("<audio") == 2 * (2 + len(listed))  # original and copy, both conditions


def test_rows_are_those_of_what_was_heard(finished):
    check_rows(finished)


def check_rows(folder: Path, judge: str = "") -> None:
    """Score the layers again, from heard.json, which test_jobs checks with the wavs."""
    whole = [row for row in table(folder / judge) if row["inverter"] == "reccnn"]
    rows = {(row["layer"], row["condition"], row["listener"]): row for row in whole}
    controls = read_heard(folder / "controls" / "vggish", judge)
    checked = 0
    for layer in ("pool1", "fc"):
        place = folder / "smallenc-talker" / layer / "reccnn"
        heard = read_heard(place, judge)["reconstruction"]
        for row in rows_of(heard, {}, controls["original"], controls["copy"], seed=1):
            written = rows[layer, row["condition"], row["listener"]]
            for name, value in row.items():
                if isinstance(value, float):
                    assert float(written[name]) == pytest.approx(value, rel=1e-4, abs=1e-4)
                    checked += 1
    assert checked == 2 * 2 * 5 * 8


def test_the_results_say_how_they_were_made(finished):
    results = read_json(finished / "results.json", dict)
    assert results["provenance"]["seed"] == 1
    assert results["provenance"]["config"]["network"] == "smallenc"
    assert len(results["rows"]) == len(table(finished))
    network = results["networks"]["smallenc-talker"]
    assert network["task"] == "talker" and 0 <= network["accuracy"] <= 100
    assert network["n_held_out"] == 16  # both conditions of the test ears
    record = read_json(finished / "smallenc-talker/pool1/reccnn/layer.json", dict)
    heard = read_json(finished / "smallenc-talker/pool1/reccnn/heard.json", dict)
    assert heard["made_by"]["checkpoint_sha256"] == "toy"
    assert record["made_by"]["settings"]["fit"]["steps"] == 20


def test_the_page_of_a_network_has_a_player_a_picture_and_the_words_of_every_sound(finished):
    (link,) = re.findall(r'<a href="(pages/[^"]+)"', (finished / "index.html").read_text())
    page = (finished / link).read_text()
    sounds = 2 * 2 * 4  # severities, conditions; original, copy and two layers
    assert page.count('src="data:audio/mpeg;base64,') == sounds
    assert page.count('<img src="data:image/jpeg;base64,') == sounds
    assert page.count('class="text-heard"') == sounds
    heard = read_heard(finished / "smallenc-talker/fc/reccnn")["reconstruction"]
    assert any(one.errors for one in heard)
    assert '<span class="lost">' in page
    assert "on talker" in page and "right on held-out scenes" in page
    assert not re.search(r'(src|href)="https?:', page)


def test_a_second_run_does_nothing_and_changes_nothing(finished, prepared, judge, nothing_made):
    def times():
        return {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}

    before = times()
    run(prepared)
    changed = [path.name for path, time in times().items() if before.get(path) != time]
    assert all(name.endswith((".png", ".lock")) for name in changed), changed


def test_another_judge_hears_what_is_there_and_has_a_table_of_its_own(
    finished, exp, tmp_path, monkeypatch, nothing_made
):
    class Forgetful(ToyRecogniser):
        def transcribe(self, signals):
            for text in super().transcribe(signals):
                yield " ".join(text.split()[1:])

    other, folder = tmp_path / "forgetful", exp / "reconstruct"
    other.mkdir()
    (other / "config.json").touch()
    own = (folder / "results.csv").read_bytes()
    give_judge(monkeypatch, Forgetful())
    run(exp, f"judge={other}")
    assert (folder / "results.csv").read_bytes() == own
    judged = folder / "judges/forgetful"
    assert {row["wer_original"] for row in table(judged) if row["condition"] == "ref"} == {"25"}
    assert "<audio" in (judged / "index.html").read_text()
    check_rows(folder, "judges/forgetful/")


def test_words_of_a_judge_from_the_hub_are_scored_as_everywhere(tmp_path, judge):
    (tmp_path / "config.json").touch()
    cfg = configure(tmp_path, tmp_path, f"judge={tmp_path}", "device=cpu", **OWN)
    as_scored = configured.judge_of_process(resolved(cfg), -40.0).as_scored
    assert as_scored("Took 12 plain candles.") == as_scored("TOOK TWELVE PLAIN CANDLES")


@pytest.mark.parametrize(("what", "n_calls"), [("reconstruct", 2), ("word_errors", 9)])
def test_a_run_that_is_killed_in_the_middle_ends_with_the_same_table(
    finished, exp, judge, monkeypatch, what, n_calls
):
    """It is killed as a layer's floor is made to speak, or as the layer is heard."""
    calls, real = [], getattr(jobs, what)

    def stopped(*arguments, **options):
        calls.append(1)
        if len(calls) == n_calls:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    shutil.rmtree(exp / "reconstruct/smallenc-talker/pool1")
    (exp / "reconstruct/results.csv").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(jobs, what, stopped)
        with pytest.raises(KeyboardInterrupt):
            run(exp)
    assert not (exp / "reconstruct/results.csv").exists()
    run(exp)
    expected = (finished / "results.csv").read_bytes()
    assert (exp / "reconstruct/results.csv").read_bytes() == expected


def test_what_was_made_with_other_settings_is_made_again(finished, exp, judge):
    record = exp / "reconstruct/smallenc-talker/pool1/reccnn/layer.json"
    before = read_json(record, dict)
    run(exp, "reconstruct.steps=4", "layers=[pool1]")
    after = read_json(record, dict)
    assert after["made_by"]["settings"]["fit"]["steps"] == 4
    assert after["made_by"]["training"] == before["made_by"]["training"]
    # Other wavs: nothing of the old stays in the table.
    wav = next((exp / "cpc1_asr_data/test").glob("left_msbg_*.wav"))
    samples, rate = sf.read(wav, dtype="float32")
    sf.write(wav, 0.5 * samples, rate, subtype="FLOAT")
    run(exp, "reconstruct.steps=4", "layers=[pool1]")
    rows = table(exp / "reconstruct")
    assert {row["layer"] for row in rows if row["inverter"] == "reccnn"} == {"pool1"}


def test_other_options_have_folders_of_their_own(exp, judge):
    few = ("reconstruct.steps=1", "reconstruct.floor_steps=1", "layers=[pool1]")
    few += ("reconstruct.batch=null", "reconstruct.preset=paper")
    run(exp, *few, "inverter=recgan", "target=ref")
    folder = exp / "reconstruct/smallenc-talker/pool1/recgan-enhancement-paper"
    record = read_json(folder / "layer.json", dict)["made_by"]["settings"]
    assert record["target"] == "ref" and record["fit"]["adversarial"] and record["fit"]["paper"]
    assert record["fit"]["batch"] == 256 and record["divisor"] == 8


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], (32, 1e-3, 1)),
        (["preset=paper"], (256, 1e-4, 1)),
        (["preset=paper", "batch=8", "learning_rate=0.01", "ladder_divisor=4"], (8, 0.01, 4)),
        (["batch=8"], (8, 1e-3, 1)),
    ],
)
def test_what_the_user_gives_wins_over_the_preset(tmp_path, given, expected):
    cfg = configure(tmp_path, tmp_path, *(f"reconstruct.{one}" for one in given), **OWN)
    settings = layer_settings(cfg, "asr")
    assert (settings.fit.batch, settings.fit.learning_rate, settings.divisor) == expected
    assert settings.fit.paper == ("preset=paper" in given)


def test_given_weights_stand_in_for_a_task(exp, judge, tmp_path):
    torch.save(VGGish(32).state_dict(), tmp_path / "vggish.pth")
    weights = f"weights={tmp_path / 'vggish.pth'}"
    run(exp, "network=vggish", weights, "layers=[pool4]", "reconstruct.steps=2")
    assert (exp / "reconstruct/vggish-weights/pool4/reccnn/inverter.pt").is_file()
    with pytest.raises(RecipeError, match=r"size mismatch for features.0.weight: .*\[2, 1, 3, 3\]"):
        run(exp, "network=vggish", weights, "reconstruct.divisor=16")
    with pytest.raises(RecipeError, match="expected network=vggish, which alone takes weights"):
        run(exp, weights)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["layers=[pool9]"], r"layers=pool9: expected some of pool1, .*, fc"),
        (["network=alexnet"], "network=alexnet: expected recogniser, vggish, smallenc, all"),
        (["task=accent"], "task=accent: expected talker, interferer"),
        (["task=hearing_aid"], "task=hearing_aid: 1 classes, expected 2 to 50; known here: talker"),
        (["inverter=unet"], "inverter=unet: expected reccnn, recgan"),
        (["target=noise"], "target=noise: expected input, ref"),
        (["reconstruct.preset=own"], "preset=own: expected corpus or paper"),
        (["reconstruct.steps=0"], "steps=0: expected a whole number from 1"),
        (["reconstruct.learning_rate=-1e-3"], r"reconstruct.learning_rate=-0.001: expected"),
        (["reconstruct.floor_steps=-1"], "floor_steps=-1: expected a whole number from 0"),
        (["reconstruct.n_train=6"], "6 signals to learn from, expected 16"),
        (["reconstruct.n_scored=3"], "3 ear signals to score, expected 8"),
        (["vocoder=/none"], "vocoder=/none: no generator.ckpt here; expected griffinlim"),
        (["judge=/none"], "judge=/none: holds no save/ .* and no config.json"),
        (["network=vggish", "weights=/none.pth"], "weights=/none.pth: no such file"),
    ],
)
def test_bad_input_is_refused_before_any_work(prepared, judge, nothing_made, overrides, message):
    with pytest.raises(RecipeError, match=message):
        run(prepared, *overrides)


def test_embeddings_that_no_disk_has_room_for_are_refused(exp, judge, monkeypatch):
    monkeypatch.setattr(reconstruct, "EMBEDDING_BYTES", 1e15)
    with pytest.raises(RecipeError, match="GB are needed for the training embeddings of 2 layers"):
        run(exp, "reconstruct.steps=3")


def test_a_judge_that_does_not_understand_is_refused(exp, monkeypatch):
    class Deaf:
        def transcribe(self, signals):
            yield from ("ADA" for _ in signals)

    shutil.rmtree(exp / "reconstruct", ignore_errors=True)
    give_judge(monkeypatch, Deaf())
    monkeypatch.setattr(reconstruct, "make_classifier", None)
    with pytest.raises(RecipeError, match="judge=recogniser: a word error rate of .* with judge="):
        run(exp)


def test_tasks_need_a_list_of_scenes_and_scored_scenes_are_not_learnt_from(tmp_path, judge):
    exp = tmp_path / "exp"
    make_experiment(exp, scenes=False)
    with pytest.raises(RecipeError, match="task=talker: not in the metadata; known here: severity"):
        run(exp)
    experiment = Experiment(exp, exp / "transformer_cpc1")
    content = read_json(experiment.presentations, dict)
    content["test"][0]["scene"] = content["train"][0]["scene"]
    experiment.presentations.write_text(json.dumps(content))
    with pytest.raises(RecipeError, match="1 of the scenes to score are learnt from too"):
        run(exp)


def test_the_recognisers_own_layers(exp, monkeypatch):
    """A real recogniser is inverted; its untrained words are not asked for."""
    make_recogniser(exp / "transformer_cpc1")
    judge = Judge(ToyRecogniser(), -40.0)
    monkeypatch.setattr(jobs, "judge_of_process", lambda *_: judge)
    configured.network_of_process.cache_clear()
    run(exp, "network=recogniser", "layers=[cnn.0,ctc]", *SIZES)
    place = exp / "reconstruct/recogniser/cnn.0/reccnn"
    embedding = np.load(next((place / "embeddings/ref").glob("*.npy")))
    assert embedding.shape == (51, 40 * 4)  # a second and 10 ms, 50 frames per second


def test_it_runs_from_any_folder_and_its_errors_are_readable(prepared, tmp_path):
    overrides = f"path.exp_folder={prepared}", "network=alexnet"
    done = run_script("reconstruction/reconstruct.py", *overrides, cwd=tmp_path)
    assert done.returncode == 1
    assert "network=alexnet: expected" in done.stderr and "Traceback" not in done.stderr
