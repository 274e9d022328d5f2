"""The fourth stage on planted similarities: its files, its messages, a second run."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit

import evaluate
from benchmarks.made.experiment import CHECKPOINT, make_experiment
from intelligibility.corpora import known_presentations
from intelligibility.corpora.presentation import made_from_of, write_presentations
from intelligibility.evaluation.responses import WHO_GRADES
from intelligibility.evaluation.scoring import score
from intelligibility.experiment import Experiment
from intelligibility.runs import read_json, sole_run, write_json
from tests.conftest import RECIPE, configure, contents, edit, run_script

SCORES = ["RMSE", "Std", "NCC", "KT"]
ALL = ("enc", "dec", "pre", "wcs")


def run(exp, *overrides):
    """Evaluate an experiment, whose release lies beside its folder; return the results, if any."""
    cfg = configure(exp.parent, exp, *overrides)
    evaluate.run(cfg)
    path = Experiment.from_config(cfg).results
    return read_json(path) if path.is_file() else None


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Return the experiment folder of a run with all four measures."""
    exp = make_experiment(tmp_path_factory.mktemp("evaluated"), measures=ALL)
    run(exp)
    return exp


@pytest.fixture
def exp(tmp_path, no_figures):
    """Return the folder of a fresh experiment, evaluated without figures."""
    return make_experiment(tmp_path)


@pytest.fixture
def presented(exp):
    """Return the experiment's presentations, as prepared."""
    path = exp / "presentations.json"
    used = known_presentations(configure(exp.parent, exp), "", path)
    write_presentations(path, used, {})
    return used


def test_results_are_the_published_scores(evaluated):
    """Against the published recipe written out: scipy's fit from [50, 1], then its four scores."""
    lists = evaluated.parent.glob("clarity_CPC1_data_*/metadata/CPC1.*.json")
    labels = {one["signal"]: one["correctness"] for path in lists for one in read_json(path)}
    results = read_json(evaluated / "results.json")
    for measure in ("enc", "dec"):
        dev, test = (
            read_json(evaluated / f"{one}_{measure}_similarity.json") for one in ("dev", "test")
        )
        x, y = 100 * np.array(list(dev.values())), np.array([labels[name] for name in dev])
        fit = results["calibration"]["measures"][measure]

        def logistic(x, x0, k):
            return 100 / (1 + np.exp(-k * (x - x0)))

        (x0, k), _ = curve_fit(logistic, x, y, [80, 0.1], ftol=1e-14, xtol=1e-14)
        assert [fit["x0"], fit["k"]] == pytest.approx([x0, k], rel=1e-5)
        predicted = logistic(100 * np.array(list(test.values())), fit["x0"], fit["k"])
        expected = score(predicted, np.array([labels[name] for name in test]))
        assert list(results[f"{measure}_results"]) == SCORES
        assert results[f"{measure}_results"] == pytest.approx(expected, abs=1e-9)


def test_results_hold_provenance_counts_and_intervals(evaluated):
    results = read_json(evaluated / "results.json")
    made = results["provenance"]
    assert made["checkpoint_sha256"] == CHECKPOINT
    assert made["config"]["cpc1_track"] == "closed" and made["seed"] == 1
    assert {"numpy", "scipy", "python"} <= set(made["versions"]) and made["time"]
    assert results["counts"]["dev"]["matched"] == 36 and results["counts"]["test"]["scenes"] == 12
    for measure in ALL:
        for name in SCORES:
            low, high = results["scores"][measure][name]["interval"]
            assert low <= results[f"{measure}_results"][name] <= high
    assert results["prior_results"]["NCC"] is None
    assert "NaN" not in (evaluated / "results.json").read_text()


def test_predictions_and_submission(evaluated):
    predictions = pd.read_csv(evaluated / "predictions.csv")
    measures = ("wcs", "pre", "enc", "dec")
    expected = ["signal", "scene", "listener", "system", "correctness"]
    expected += [f"{name}_{what}" for name in measures for what in ("similarity", "prediction")]
    expected += [f"{name}_{what}" for name in measures for what in ("low", "high")]
    assert list(predictions) == expected and len(predictions) == 72
    assert predictions.filter(like="prediction").stack().between(0, 100).all()
    submission = pd.read_csv(evaluated / "submission.csv")
    assert list(submission) == ["signal_ID", "intelligibility_score"]
    np.testing.assert_array_equal(submission["signal_ID"], predictions["signal"])
    np.testing.assert_allclose(submission["intelligibility_score"], predictions["dec_prediction"])


def test_every_table_is_there_twice_and_every_figure(evaluated):
    tables = ["by_listener", "by_severity", "by_grade", "by_system", "comparisons", "ranges"]
    tables += ["table1", "table3", "within"]
    figures = ["by_listener", "by_system", "reliability", "residuals", "scatter", "within"]
    for folder, stems, kinds in (("tables", tables, "csv md"), ("figures", figures, "png pdf")):
        names = {path.name for path in (evaluated / folder).iterdir()}
        assert names == {f"{stem}.{kind}" for stem in stems for kind in kinds.split()}
    long = pd.read_csv(evaluated / "tables/table1.csv")
    ours = long[(long["source"] == "this run") & (long["measure"] == "dec")].iloc[0]
    assert ours["RMSE"] == read_json(evaluated / "results.json")["dec_results"]["RMSE"]


def test_a_second_run_leaves_every_file_as_it_was(tmp_path):
    exp = make_experiment(tmp_path)

    def evaluated_files():
        run(exp)
        return {name: sha for name, sha in contents(exp).items() if "logs/" not in name}

    first = evaluated_files()
    results = read_json(exp / "results.json")
    results["provenance"]["time"] = "2001-01-01T00:00:00+00:00"  # as if made long ago
    (exp / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    second = evaluated_files()
    assert read_json(exp / "results.json")["provenance"]["time"].startswith("2001")
    changed = {name for name in first if first[name] != second[name]}
    assert set(first) == set(second) and changed == {"results.json", "report.html"}
    assert evaluated_files() == second


def test_two_processes_agree_whatever_the_order_of_the_files(exp):
    found = []
    for _ in range(2):
        done = run_script("evaluate.py", f"path.root='{exp.parent}'", f"path.exp_folder='{exp}'")
        assert done.returncode == 0, done.stderr
        assert "Table 1" in done.stdout and "report.html" in done.stderr
        found.append(((exp / "predictions.csv").read_bytes(), read_json(exp / "results.json")))
        for split in ("dev", "test"):
            path = exp / f"{split}_enc_similarity.json"
            path.write_text(json.dumps(dict(reversed(read_json(path).items()))))
    assert found[0] == found[1]


def test_a_reader_who_leaves_early_gets_whole_files(exp):
    done = subprocess.run(
        f"{sys.executable} evaluate.py path.root='{exp.parent}' path.exp_folder='{exp}' | head -1; "
        "exit ${PIPESTATUS[0]}",
        shell=True, executable="/bin/bash", cwd=RECIPE, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0 and "Error" not in done.stderr and "Done in" in done.stderr
    passing = (".log", ".lock")
    newest = max(path.stat().st_mtime_ns for path in exp.rglob("*.*") if path.suffix not in passing)
    assert (exp / "report.html").stat().st_mtime_ns == newest


def test_what_a_killed_run_left_is_removed_and_nothing_else(exp):
    names = [".results{}json", ".predictions{}csv", ".report{}html"]
    names += ["figures/.scatter{}png", "tables/.table1{}csv"]
    left = [exp / name.format(".0123456789ab.part.") for name in names]
    other = exp / ".test_dec_similarity.0123456789ab.part.json"  # infer.py may be writing it
    left.append(exp / "tables/halves.csv")  # of a run with seeds=
    for path in [*left, other]:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    run(exp)
    assert not any(path.exists() for path in left) and other.exists()


def test_two_runs_at_once_are_refused(exp, refused):
    with sole_run(exp, "evaluate"):
        assert "is in use" in refused(run, exp)


def test_the_record_says_the_seed_of_each_stage(exp, caplog):
    (exp / "data_split/made_by.json").write_text('{"seed": 1}')
    edit(exp / "inference.json", lambda made: made.update(provenance={"seed": 3}))
    write_json(exp / "transformer_cpc1/training.json", {"settings": {"seed": 2}})
    made = run(exp, "seed=5")["provenance"]
    seeds = {"prepare_data.py": 1, "train_asr.py": 2, "infer.py": 3, "evaluate.py": 5}
    assert made["seeds"] == seeds
    assert "prepare_data.py 1, train_asr.py 2, infer.py 3" in (exp / "report.html").read_text()
    assert "seed=5 draws the bootstrap; the dev scenes were drawn with seed=1" in caplog.text


def test_both_tracks_stand_side_by_side(exp):
    make_experiment(exp.parent, n_scenes=16, track="_indep", seed=3)
    run(exp)
    assert run(exp, "cpc1_track=open")["counts"]["test"]["scenes"] == 8
    head = (exp / "tables/table1.md").read_text().splitlines()[0]
    assert "closed RMSE" in head and "open RMSE" in head
    assert (exp / "results_indep.json").is_file() and (exp / "report_indep.html").is_file()


def test_unlabelled_test_data_get_predictions_and_a_word(tmp_path, caplog):
    exp = make_experiment(tmp_path, labelled=False)
    run(exp)
    assert "scores cannot be computed" in caplog.text and "path.test_responses" in caplog.text
    assert len(pd.read_csv(exp / "submission.csv")) == 72
    assert pd.read_csv(exp / "predictions.csv")["correctness"].isna().all()
    assert not (exp / "results.json").exists()


@pytest.mark.parametrize(
    ("files", "content", "says"),
    [
        ("dev_*_similarity.json", '{"S100000_L0001_E001": 0.5}', "1 dev signals.*at least 3"),
        ("*similarity.json", None, "run infer.py first"),
        ("dev_dec_similarity.json", None, "dec: test similarities, but no logistic"),
    ],
)
def test_too_little_to_fit_is_one_message(exp, refused, files, content, says):
    for path in exp.glob(files):
        path.unlink() if content is None else path.write_text(content)
    message = refused(run, exp)
    assert re.search(says, message), message
    assert not (exp / "results.json").exists()


@pytest.mark.parametrize("calibrated", [False, True])
def test_similarities_that_may_be_of_two_runs(exp, refused, calibrated):
    run(exp)
    mapping = f"calibration='{exp / 'calibration.json'}'"
    options = [mapping] if calibrated else []
    edit(exp / "inference.json", lambda made: made.update(checkpoint_sha256=["5e"]))
    assert "inference.json: checkpoint_sha256 is ['5e']" in refused(run, exp, *options)
    (exp / "inference.json").unlink()
    assert "stopped while it wrote; run it again" in refused(run, exp, *options)


# The mapping travels


@pytest.mark.parametrize(("measure", "goes_on"), [("wcs", True), ("dec", False)])
def test_a_constant_measure_stops_only_the_method(tmp_path, refused, caplog, measure, goes_on):
    exp = make_experiment(tmp_path, measures=("enc", "dec", "wcs"))
    path = Experiment(exp, exp).measure_file("dev", measure)
    path.write_text(json.dumps(dict.fromkeys(read_json(path), 0.5)))
    if not goes_on:
        assert re.search("all.*similarities are 50 %", refused(run, exp))
        return
    results = run(exp)
    assert "is left out: logistic fit: all" in caplog.text
    assert "dec_results" in results and "wcs_results" not in results
    assert "wcs" not in (exp / "predictions.csv").read_text()


def test_results_name_what_was_left_out(exp):
    assert run(exp)["left_out"] is None
    (exp / "left_out.json").write_text(json.dumps({"S1": "missing file: S1.wav"}))
    assert run(exp)["left_out"] == {"file": "left_out.json", "signals": 1}


def test_a_calibration_replaces_the_dev_data(exp, caplog):
    """One of another checkpoint warns."""
    expected = run(exp)["dec_results"]
    kept = exp.parent / "kept.json"
    (exp / "calibration.json").rename(kept)
    for path in [*exp.glob("dev_*"), exp / "data_split/scene_dev_list.json"]:
        path.unlink()
    assert run(exp, f"calibration='{kept}'")["dec_results"] == expected
    assert f"checkpoint {CHECKPOINT[:12]}" not in caplog.text
    assert not (exp / "calibration.json").exists()
    edit(exp / "inference.json", lambda made: made.update(checkpoint_sha256="00" * 32))
    run(exp, f"calibration='{kept}'")
    assert f"checkpoint {CHECKPOINT[:12]}" in caplog.text and "0" * 12 in caplog.text


# Two runs compared


def test_another_run_is_compared_in_pairs(exp, tmp_path):
    run(exp)
    other = pd.read_csv(exp / "predictions.csv")
    rng = np.random.default_rng(0)
    other["dec_prediction"] = 100 * rng.random(len(other))
    other.sample(frac=1, random_state=0).to_csv(tmp_path / "other.csv", index=False)
    found = run(exp, f"compare='{tmp_path / 'other.csv'}'")["comparisons"]
    compared = {(one["a"], one["b"], one["score"]): one for one in found}
    assert compared["dec", "other dec", "RMSE"]["better"] == "dec"
    assert compared["dec", "other dec", "RMSE"]["p"] < 0.01
    assert compared["enc", "other enc", "RMSE"]["difference"] == pytest.approx(0, abs=1e-9)
    assert compared["enc", "other enc", "RMSE"]["better"] is None
    assert ("dec", "enc", "KT") in compared


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.rename(columns={"signal": "name"}), "neither a predictions.csv"),
        (lambda t: t[[name for name in t if "prediction" not in name]], "no prediction by"),
        (lambda t: t.assign(correctness=(t["correctness"] + 20) % 100), "have another response"),
        (lambda t: pd.concat([t, t.head(1)]), "neither a predictions.csv.*more than once"),
        (lambda t: t.assign(signal=t["signal"] + "x"), "no signal in common"),
        (lambda t: t.assign(signal=range(len(t))), "no signal in common"),
        (lambda t: t.assign(correctness="many"), "neither a predictions.csv.*many"),
        (lambda t: t.assign(dec_prediction="high"), "neither a predictions.csv.*high"),
        (lambda t: t.assign(dec_prediction=np.inf), "neither a predictions.csv.*percent"),
    ],
)
def test_what_cannot_be_compared_is_refused(evaluated, tmp_path, refused, change, says):
    change(pd.read_csv(evaluated / "predictions.csv")).to_csv(tmp_path / "other.csv", index=False)
    message = refused(run, evaluated, f"compare='{tmp_path / 'other.csv'}'")
    assert re.search(says, message), message


# The real responses


@pytest.mark.parametrize(
    ("track", "suffix", "n", "rmse"), [("closed", "", 2421, 36.4), ("open", "_indep", 632, 36.2)]
)
def test_the_real_responses_with_made_similarities(
    shared, tmp_path, no_figures, track, suffix, n, rmse
):
    sample = shared / "cpc1_sample"
    real = read_json(sample / f"test_listener_responses/CPC1.test{suffix}.json")
    exp = tmp_path / "exp"
    rng = np.random.default_rng(0)
    made = {one["signal"]: 0.7 + 0.002 * one["correctness"] + 0.05 * rng.random() for one in real}
    write_json(exp / f"test_dec_similarity{suffix}.json", made)
    mean = float(np.mean([one["correctness"] for one in real]))
    write_json(exp / f"inference{suffix}.json", {})
    mapping = {"mean_correctness": mean, "measures": {"dec": {"x0": 82.0, "k": 0.2}}}
    write_json(tmp_path / "calibration.json", mapping)
    listeners = "clarity_CPC1_data_test/metadata/listeners.CPC1_all.json"
    metadata = (tmp_path / listeners).parent
    unlabelled = [{k: v for k, v in one.items() if k != "correctness"} for one in real]
    write_json(metadata / f"CPC1.test{suffix}.json", unlabelled)
    shutil.copy(sample / listeners, metadata)
    responses = f"path.test_responses='{sample / 'test_listener_responses'}'"
    options = [f"cpc1_track={track}", "path.cpc1_train_data=null", responses]
    options.append(f"calibration='{tmp_path / 'calibration.json'}'")
    results = run(exp, *options)
    assert results["counts"]["test"]["matched"] == n
    assert results["counts"]["test"]["listeners"] == 27
    assert round(results["prior_results"]["RMSE"], 1) == rmse  # the challenge's constant prior
    assert results["dec_results"]["RMSE"] < 20 and results["dec_results"]["NCC"] > 0.9
    predicted = {name: 100 / (1 + np.exp(-0.2 * (100 * s - 82))) for name, s in made.items()}
    error = np.array([predicted[one["signal"]] - one["correctness"] for one in real])
    assert results["dec_results"]["RMSE"] == pytest.approx(np.sqrt(np.mean(error**2)))


# Measures without a recogniser


def test_baselines_stand_in_every_table_beside_the_papers(tmp_path, no_figures):
    exp = make_experiment(tmp_path, measures=("enc", "dec", "mbstoi", "haspi"))
    results = run(exp)
    assert {"mbstoi_results", "haspi_results"} <= set(results)
    assert {"mbstoi", "haspi"} <= set(results["averaged"]["system"])
    assert {"mbstoi", "haspi"} <= {one["b"] for one in results["comparisons"]}
    lines = (exp / "tables/table1.md").read_text().splitlines()
    row = next(n for n, line in enumerate(lines) if line.startswith("| MSBG + MBSTOI"))
    assert "this run" in lines[row] and "28.5" in lines[row + 2] and "paper" in lines[row + 2]
    assert "| MSBG + MBSTOI" in (exp / "tables/table3.md").read_text()
    assert "mbstoi_prediction" in (exp / "predictions.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda record: record["baselines"].pop("mbstoi"), "nothing about mbstoi.*run it again"),
        (lambda record: record.pop("baselines"), "nothing about mbstoi"),
    ],
)
def test_baselines_that_may_be_of_two_runs(exp, refused, change, says):
    make_experiment(exp.parent, measures=("enc", "dec", "mbstoi"))
    edit(exp / "baselines.json", change)
    message = refused(run, exp)
    assert re.search(says, message), message


def test_baselines_of_older_records(exp, presented, refused):
    make_experiment(exp.parent, measures=("enc", "dec", "mbstoi"))
    now = {archive: made_from_of(ones) for archive, ones in presented.items()}
    edit(exp / "baselines.json", lambda r: r["baselines"]["mbstoi"].update(ear_signals=now))
    run(exp)
    edit(exp / "presentations.json", lambda r: r["test"][0].update(made_from="other"))
    assert "mbstoi is of other signals, audiograms" in refused(run, exp)


def test_similarities_of_another_split_are_refused(exp, presented, refused):
    run(exp)
    before = (exp / "predictions.csv").read_bytes()
    dev = exp / "data_split/scene_dev_list.json"
    edit(dev, lambda scenes: scenes.append("S100011"))
    message = refused(run, exp)
    assert "6 signals of these scenes have no similarity, and 0 with one" in message
    edit(dev, lambda scenes: scenes.__setitem__(slice(None), scenes[:3]))
    message = refused(run, exp)
    assert "0 signals of these scenes have no similarity, and 18 with one" in message
    assert "run prepare_data.py and infer.py again" in message
    assert (exp / "predictions.csv").read_bytes() == before


def test_similarities_of_a_recogniser_that_was_trained_since_are_refused(exp, refused):
    save = exp / "transformer_cpc1/save"
    (save / "CKPT").mkdir(parents=True)
    (save / "CKPT+later").mkdir()  # of a training that is going on
    run(exp)
    (save / "CKPT").rmdir()
    message = refused(run, exp)
    assert "the similarities are of CKPT, which" in message and "run infer.py again" in message


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("compare=/tmp", "compare=/tmp: no such file"),
        ("seeds=[1,1]", "expected different whole numbers"),
        ("seeds=[1]", "expected different whole numbers"),
        ("bundle='{exp}'", "exists already; give a new folder"),
        ("bundle=new calibration=a.json", "leave calibration out"),
        ("bundle=new hearing_loss=none", "it disregards audiograms"),
        ("bundle=new recogniser=openai/whisper-tiny.en", "is on the hub already"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(exp, refused, asked, says):
    before = sorted(exp.rglob("*"))
    assert says in refused(run, exp, *asked.format(exp=exp).split())
    assert sorted(exp.rglob("*")) == before


# What a reader expects


def test_results_keep_the_numbers_of_every_figure(evaluated):
    results = read_json(evaluated / "results.json")
    for name in ("scatter", "reliability"):
        for measure in ALL:
            assert sum(one["n"] for one in results["figures"][name][measure]) == 72
    names = [f"L{n:04d}" for n in range(1, 7)]
    listeners = results["figures"]["residuals"]["dec"]["listeners"]
    assert [one["listener"] for one in listeners] == names
    assert {one["listener"] for one in results["groups"]["listener"]} == set(names)
    assert {one["grade"] for one in results["groups"]["grade"]} <= set(WHO_GRADES)
    within = results["within"]["listener"]  # too few signals per listener and system here
    assert within["ceiling"] is None and "listeners have 3 systems" in within["reason"]
    assert results["halves"] is None


def test_ranges_stand_in_predictions_and_are_checked_on_test(evaluated):
    predictions = pd.read_csv(evaluated / "predictions.csv")
    inside = predictions["correctness"].between(
        predictions["dec_low"] - 1e-9, predictions["dec_high"] + 1e-9
    )
    ranges = read_json(evaluated / "results.json")["ranges"]
    assert ranges["level"] == 0.8
    assert ranges["measures"]["dec"]["one"]["coverage"]["value"] == pytest.approx(inside.mean())
    assert "within (95 %)" in (evaluated / "tables/ranges.md").read_text()


def test_the_spread_over_halves_of_dev(exp, refused):
    results = run(exp, "seeds=[1,2,3]")
    halves = results["halves"]
    assert halves["seeds"] == [1, 2, 3] and halves["n_dev_scenes"] == 3
    spread = halves["measures"]["dec"]["RMSE"]
    assert len(set(spread["values"])) == 3 and spread["sd"] == pytest.approx(
        np.std(spread["values"], ddof=1)
    )
    kt = halves["measures"]["dec"]["KT"]["values"]  # a logistic keeps the order
    assert kt == pytest.approx([results["dec_results"]["KT"]] * 3)
    assert "3 random halves" in re.sub(r"\s+", " ", (exp / "report.html").read_text())
    mapping = f"calibration='{exp / 'calibration.json'}'"
    options = ("seeds=[1,2]", mapping, "allow_leak=true")
    assert "no dev signals to split" in refused(run, exp, *options)


def test_systems_of_two_challenges_and_snrs_are_told_apart(exp, presented):
    tests = [
        replace(one, cec=f"CEC{1 + n % 2}", snr=-7.0 + n % 20)
        for n, one in enumerate(presented["test"])
    ]
    write_presentations(exp / "presentations.json", presented | {"test": tests}, {})
    groups = run(exp)["groups"]
    found = {name: {one[name] for one in groups[name]} for name in ("CEC", "SNR", "system")}
    assert found["CEC"] == {"CEC1", "CEC2"}
    ranges = ["-12 to -6", "-6 to 0", "0 to 6", "6 to 12", "12 to 18"]
    assert found["SNR"] == {f"{limits} dB" for limits in ranges}
    assert found["system"] == {f"CEC{cec} E00{n}" for cec in (1, 2) for n in (1, 2, 3)}
    assert set(pd.read_csv(exp / "predictions.csv")["system"]) == {"E001", "E002", "E003"}


# What a recogniser from the hub measured


HUB = "somebody/small"


@pytest.fixture(scope="module")
def of_another(evaluated):
    """Return where the measures of another recogniser, in the same experiment, were evaluated.

    It has no decoder and no words, but a log-probability, and layers.
    """
    folder = evaluated / HUB.replace("/", "--")
    rng = np.random.default_rng(0)
    record = {"checkpoint_sha256": "ab" * 32, "checkpoints": ["0123"], "recogniser": HUB}
    write_json(folder / "inference.json", record)
    for split in ("dev", "test"):
        enc = read_json(evaluated / f"{split}_enc_similarity.json")
        noisy = {name: value - abs(0.2 * rng.standard_normal()) for name, value in enc.items()}
        measured = {"enc": enc, "pre": enc}
        measured["prob"] = {name: 8 * (value - 0.9) for name, value in enc.items()}  # nats
        measured["layers"] = {"cnn": noisy, "encoder.0": enc, "decoder.0": dict.fromkeys(enc, 1.0)}
        for name, values in measured.items():
            write_json(folder / f"{split}_{name}_similarity.json", values)
    before = contents(evaluated)
    run(evaluated, f"recogniser={HUB}")
    assert before.items() <= contents(evaluated).items()
    return folder


@pytest.fixture
def results(of_another):
    """Return the results of the other recogniser."""
    return read_json(of_another / "results.json")


def test_it_has_files_of_its_own_without_the_measures_that_it_does_not_have(of_another, results):
    names = ("results.json", "predictions.csv", "calibration.json", "report.html")
    for name in (*names, "figures/scatter.png", "tables/table1.md"):
        assert (of_another / name).is_file()
    assert set(results["scores"]) == {"prior", "enc", "pre", "prob", "layer"}
    assert set(results["calibration"]["measures"]) == {"enc", "pre", "prob", "layer"}
    header = (of_another / "predictions.csv").read_text().splitlines()[0].split(",")
    assert "prob_prediction" in header
    assert not [name for name in header if name.startswith(("dec_", "wcs_"))]
    lines = (of_another / "tables/table1.md").read_text().splitlines()
    ours = [line for line in lines if "this run" in line]
    assert len(ours) >= 4
    assert not [line for line in ours if "decoder" in line or "word correctness" in line]


def test_a_log_probability_is_mapped_as_a_similarity_is(results):
    """It is a straight line of enc here, and so is the logistic of it."""
    for name in ("RMSE", "NCC"):
        one, other = (results["scores"][measure][name]["value"] for measure in ("enc", "prob"))
        assert one == pytest.approx(other, abs=1e-4)


def test_layers_are_in_results_tables_and_figures(of_another, results):
    assert results["layers"]["chosen"] == "encoder.0"
    expected = results["scores"]["enc"]["RMSE"]["value"]
    assert results["layers"]["scores"]["encoder.0"]["test"]["RMSE"] == pytest.approx(expected)
    assert results["scores"]["layer"]["RMSE"]["value"] == pytest.approx(expected)
    assert {"layer", "prob"} in [{one["a"], one["b"]} for one in results["comparisons"]]
    for table in ("table1", "table3"):
        assert "best layer (chosen on dev)" in (of_another / f"tables/{table}.md").read_text()
    assert "encoder.0 (chosen)" in (of_another / "tables/layers.md").read_text()
    assert (of_another / "figures/layers.png").is_file()
    assert "Layers of the recogniser" in (of_another / "report.html").read_text()
    exp = of_another.parent
    assert "layers" not in read_json(exp / "results.json")  # ours were not measured
    assert not (exp / "tables/layers.md").exists()


def test_our_own_recognisers_layers_count_and_two_recognisers_are_compared(
    of_another, tmp_path, no_figures
):
    """Neither needs the signals to be prepared twice."""
    root = shutil.copytree(of_another.parents[1], tmp_path / "root")
    exp = root / of_another.parent.name
    for path in exp.glob("somebody--small/*_layers_similarity.json"):
        shutil.copy(path, exp)
    assert run(exp)["layers"]["chosen"] == "encoder.0"
    compare = f"compare='{exp}/predictions.csv'"
    compared = run(exp, f"recogniser={HUB}", compare)["comparisons"]
    pairs = {(one["a"], one["b"]) for one in compared}
    assert {("enc", "other enc"), ("pre", "other pre")} <= pairs
    assert not [pair for pair in pairs if "dec" in " ".join(pair)]
