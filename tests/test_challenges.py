"""evaluate.py on CPC2 and CPC3: sets and their mappings, leaks, submissions, words."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evaluate
from intelligibility.corpora.listeners import stand_in
from intelligibility.corpora.presentation import (
    Presentation,
    read_presentations,
    write_presentations,
)
from intelligibility.prediction.haspi_predictor import BUILTIN, builtin_predictor
from tests.challenge_data import make_challenge
from tests.conftest import configure


def run(exp: Path, corpus: str, *overrides: str) -> dict:
    """Evaluate, and return the results; {} where there are none."""
    evaluate.run(configure(exp, exp, f"corpus={corpus}", *overrides))
    path = exp / "results.json"
    return json.loads(path.read_text()) if path.is_file() else {}


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Draw nothing, but where a test is about the report."""
    if "report" not in request.node.name:
        monkeypatch.setattr(evaluate, "all_figures", lambda *_: {})


@pytest.fixture(scope="module")
def cpc2(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, dict]:
    """Return an experiment on CPC2 after evaluation, its presentations and its results."""
    exp = tmp_path_factory.mktemp("cpc2")
    used = make_challenge(exp, "cpc2", n_train=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "all_figures", lambda *_: {})
        return exp, used, run(exp, "cpc2")


def test_each_set_of_cpc2_has_its_mapping(cpc2) -> None:
    """Similarities of one set lie elsewhere than another's: only its own mapping fits them.

    Mapping k remembers dev signals of training k, and of no other listener's.
    """
    exp, used, results = cpc2
    mapping = json.loads((exp / "calibration.json").read_text())
    assert list(mapping["sets"]) == ["1", "2", "3"]
    predictions = pd.read_csv(exp / "predictions.csv").set_index("signal")
    own = {one.name: mapping["sets"][one.sets[0]]["measures"]["dec"] for one in used["test"]}
    for name, row in predictions.iterrows():
        fit = own[name]
        expected = 100 / (1 + np.exp(-fit["k"] * (100 * row["dec_similarity"] - fit["x0"])))
        assert row["dec_prediction"] == pytest.approx(expected, abs=1e-9)
    assert {name: one["n_signals"] for name, one in results["sets"].items()} == {
        k: sum(k in one.sets for one in used["test"]) for k in "123"
    }
    for k in "123":
        listeners = mapping["sets"][k]["seen"]["listeners"]
        assert listeners == [f"L{n:04d}" for n in range(9) if n // 3 + 1 != int(k)]


def test_a_set_is_scored_by_itself_and_all_are_pooled(cpc2) -> None:
    exp, used, results = cpc2
    rows = pd.read_csv(exp / "predictions.csv").set_index("signal")
    error = (rows["dec_prediction"] - rows["correctness"]) ** 2
    assert results["dec_results"]["RMSE"] == pytest.approx(np.sqrt(error.mean()))
    for k in "123":
        mine = error[[one.name for one in used["test"] if k in one.sets]]
        scored = results["sets"][k]["scores"]["dec"]["RMSE"]["value"]
        assert scored == pytest.approx(np.sqrt(mine.mean()))


def test_a_submission_per_set(cpc2) -> None:
    """Together they hold every test signal once, in the challenge's columns."""
    exp, used, _ = cpc2
    parts = [pd.read_csv(exp / f"submission_{k}.csv") for k in "123"]
    whole = pd.read_csv(exp / "submission.csv")
    assert list(whole.columns) == ["signal_ID", "intelligibility_score"]
    assert sorted(pd.concat(parts)["signal_ID"]) == sorted(whole["signal_ID"])
    assert sorted(whole["signal_ID"]) == sorted(one.name for one in used["test"])


def test_cpc3_without_labels_gives_submissions(tmp_path: Path) -> None:
    used = make_challenge(tmp_path, "cpc3", labelled=())
    assert run(tmp_path, "cpc3") == {}
    for name in ("dev", "eval"):
        submitted = pd.read_csv(tmp_path / f"submission_{name}.csv")
        mine = sorted(one.name for one in used["test"] if name in one.sets)
        assert sorted(submitted["signal_ID"]) == mine
        assert submitted["intelligibility_score"].between(0, 100).all()


def test_cpc3_with_the_labels_of_dev(tmp_path: Path) -> None:
    """What is labelled is scored; eval is predicted all the same."""
    used = make_challenge(tmp_path, "cpc3", labelled=("dev",))
    results = run(tmp_path, "cpc3")
    assert list(results["sets"]) == ["dev"]
    assert results["sets"]["dev"]["n_signals"] == results["counts"]["test"]["matched"]
    n_eval = sum("eval" in one.sets for one in used["test"])
    assert len(pd.read_csv(tmp_path / "submission_eval.csv")) == n_eval
    # Nobody knows who listened, or through what: nothing is said by listener or by system.
    assert results["averaged"] == {}
    assert results["counts"]["test"]["systems"] == results["counts"]["test"]["listeners"] == 0
    # Signals of one sentence are resampled together.
    sentences = {one.prompt for one in used["test"] if "dev" in one.sets}
    assert results["counts"]["test"]["scenes"] == len(sentences)


@pytest.mark.parametrize("corpus", ["cpc2", "cpc3"])
def test_the_report_takes_its_words_from_the_corpus(tmp_path: Path, corpus: str) -> None:
    """No other challenge is named in it, and the published numbers are the challenge's."""
    make_challenge(tmp_path, corpus)
    run(tmp_path, corpus)
    page = (tmp_path / "report.html").read_text()
    words = page.split("data:image")[0] + "".join(
        part.split('"', 1)[1] for part in page.split("data:image")[1:]
    )
    assert f"prediction, {corpus.upper()}" in words
    for other in {"cpc1", "cpc2", "cpc3"} - {corpus}:
        assert other.upper() not in words
    table = pd.read_csv(tmp_path / "tables/table1.csv", dtype={"set": str})
    table = table.set_index(["measure", "source", "set"]).sort_index()
    best = {"cpc2": ("pooled", 25.1, 0.78), "cpc3": ("eval", 24.98, 0.80)}[corpus]
    assert tuple(table.loc[("best", "challenge", best[0]), ["RMSE", "NCC"]]) == best[1:]
    columns = {"cpc2": {"pooled", "1", "2", "3"}, "cpc3": {"dev", "eval"}}[corpus]
    ours = table.loc[("dec", "this run")]
    assert set(ours.index) == columns


# Leaks.


def leak(exp: Path, n: int) -> list[Presentation]:
    """Let n test signals of CPC2 be dev signals of the mapping that predicts them."""
    used = read_presentations(exp / "presentations.json")
    leaked = [one for one in used["test"] if "1" in one.sets][:n]
    for one in leaked:
        twin = {**vars(one), "name": f"{one.name}_hr", "system": f"{one.system}_hr"}
        used["train"].append(Presentation(**twin))
        for measure in ("dec", "enc"):
            test = json.loads((exp / f"test_{measure}_similarity.json").read_text())
            path = exp / f"dev_{measure}_similarity.json"
            dev = json.loads(path.read_text())
            path.write_text(json.dumps(dev | {f"{one.name}_hr": test[one.name]}))
    path = exp / "data_split/scene_dev_list.json"
    path.write_text(json.dumps(json.loads(path.read_text()) + [one.scene for one in leaked]))
    write_presentations(exp / "presentations.json", used, {})
    return leaked


def test_a_mapping_is_not_tested_on_what_it_was_fitted_on(tmp_path: Path, refused) -> None:
    """It is refused; or those signals are left out, said, and never scored."""
    used = make_challenge(tmp_path, "cpc2")
    leaked = {one.name for one in leak(tmp_path, 3)}
    assert "fitted on 3 of the 120 test signals" in refused(run, tmp_path, "cpc2")
    assert not (tmp_path / "results.json").exists()
    results = run(tmp_path, "cpc2", "allow_leak=true")
    assert results["leaks"]["left_out"] == 3
    assert results["counts"]["test"]["matched"] == len(used["test"]) - 3
    scored = set(pd.read_csv(tmp_path / "predictions.csv")["signal"])
    assert scored == {one.name for one in used["test"]} - leaked
    assert "3 test signals are left out" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("corpus", "wav"),
    [
        ("cpc1", "HA_outputs/test_indep/S08520_L0243_E018.wav"),
        ("cpc2", "HA_outputs/signals/CEC2/S08503_L0242_E031.wav"),
        ("cpc2", "train/signals/CEC2_E036_S08503_L0200.wav"),  # as CPC3 names it
    ],
)
def test_what_the_built_in_mapping_was_fitted_on_is_named(
    tmp_path: Path, refused, corpus: str, wav: str
) -> None:
    """By evaluate.py, which refuses to test it, as by score.py, which warns."""
    used = make_challenge(tmp_path, "cpc2")
    names = sorted(Path(wav).stem.removeprefix("CEC2_").split("_"))  # E..., L..., S...
    system, listener, scene = names
    cec = "CEC2" if "CEC2" in wav else "CEC1"
    seen = {"scene": f"{cec}_{scene}", "listener": stand_in("Mild", listener), "system": system}
    used["test"][0] = replace(used["test"][0], **seen, cec=cec)
    sets = {} if corpus == "cpc2" else {"sets": ()}
    used = {part: [replace(one, **sets) for one in ones] for part, ones in used.items()}
    write_presentations(tmp_path / "presentations.json", used, {})
    said = refused(run, tmp_path, corpus, f"calibration='{BUILTIN}'")
    assert "the mapping was fitted on 1 of the" in said and used["test"][0].name in said
    (warning,) = builtin_predictor().warnings(Path(wav), stand_in("Mild", listener))
    assert warning.startswith(f"{Path(wav).name}: a signal whose answer the mapping from HASPI")


def test_a_leak_into_another_set_is_none(tmp_path: Path) -> None:
    """Mapping 2 may know a signal of test 1: it does not predict it."""
    make_challenge(tmp_path, "cpc2")
    leak(tmp_path, 3)
    path = tmp_path / "presentations.json"
    content = json.loads(path.read_text())
    for entry in content["train"]:
        if entry["signal"].endswith("_hr"):
            entry["sets"] = ["2"]
    path.write_text(json.dumps(content))
    assert run(tmp_path, "cpc2")["leaks"]["left_out"] == 0


def test_a_mapping_of_another_corpus(tmp_path: Path, refused) -> None:
    """A mapping that was fitted on CPC3 knows a test of CPC2, whatever the names look like."""
    make_challenge(tmp_path / "two", "cpc2")
    test = json.loads((tmp_path / "two/presentations.json").read_text())["test"][:5]
    three = tmp_path / "three"
    make_challenge(three, "cpc3")
    run(three, "cpc3")
    mapping = json.loads((three / "calibration.json").read_text())
    for one in test:
        scene = one["scene"].removeprefix("CEC2_")
        mapping["seen"]["signals"].append(f"CEC2 {scene} {one['listener']} {one['system']}")
    (three / "calibration.json").write_text(json.dumps(mapping))
    calibration = f"calibration='{three / 'calibration.json'}'"
    assert "fitted on 5 of the 120" in refused(run, tmp_path / "two", "cpc2", calibration)
    results = run(tmp_path / "two", "cpc2", calibration, "allow_leak=true")
    assert results["leaks"]["left_out"] == 5


def test_what_was_seen_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Listeners and systems of the mapping, and prompts of the recogniser, are counted."""
    used = make_challenge(tmp_path, "cpc2")
    (tmp_path / "transformer_cpc2").mkdir()
    trained = [
        {"name": "x", "scene": "CEC1_S1", "listener": "L0001", "system": "E1", "prompt": prompt}
        for prompt in ("SENTENCE S20001", "SENTENCE S20002", "NOTHING")
    ]
    record = tmp_path / "transformer_cpc2/trained_on.json"
    record.write_text(json.dumps({"presentations": trained}))
    leaks = run(tmp_path, "cpc2")["leaks"]
    assert leaks["recogniser"]["prompts"] == {"seen": 2, "known": 30}
    assert leaks["recogniser"]["signals"] == {"seen": 0, "known": len(used["test"])}
    assert leaks["recogniser"]["listeners"]["seen"] == 1
    assert leaks["mapping"]["listeners"] == {"seen": 0, "known": 9}
    assert leaks["mapping"]["systems"]["seen"] > 0
    assert (
        "The recogniser was trained on some of the test: 1 of 9 listeners, 2 of 30" in caplog.text
    )
    assert "The recogniser was trained on some" in (tmp_path / "report.html").read_text()


def test_a_set_without_a_mapping(tmp_path: Path, refused) -> None:
    make_challenge(tmp_path, "cpc2")
    path = tmp_path / "presentations.json"
    content = json.loads(path.read_text())
    for entry in content["train"]:
        entry["sets"] = [k for k in entry["sets"] if k != "3"]
    path.write_text(json.dumps(content))
    said = refused(run, tmp_path, "cpc2")
    assert "test set 3 has no mapping: there are those of 1, 2" in said


# Submissions of others.


@pytest.mark.parametrize(
    "header", ["signal_ID,intelligibility_score\n", "", "signal_ID, intelligibility_score\n"]
)
def test_a_submission_is_compared(tmp_path: Path, header: str) -> None:
    """Its scores are paired with each measure's, header or not."""
    used = make_challenge(tmp_path, "cpc2")
    theirs = "".join(f"{one.name}, {one.correctness}\n" for one in used["test"])
    (tmp_path / "theirs.csv").write_text(header + theirs)
    compared = run(tmp_path, "cpc2", f"compare='{tmp_path / 'theirs.csv'}'")["comparisons"]
    (found,) = [
        one
        for one in compared
        if (one["a"], one["b"], one["score"]) == ("dec", "submission", "RMSE")
    ]
    assert found["value_b"] == pytest.approx(0)
    assert found["better"] == "submission"
    assert found["n_signals"] == len(used["test"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nobody,50\n", "none of its signals"),
        ("{name},50\n{name},60\n", "more than once"),
        ("{name},150\n", "percent"),
        ("{name},many\n", "many"),
    ],
)
def test_submissions_that_are_refused(cpc2, tmp_path: Path, refused, text, reason) -> None:
    exp, used, _ = cpc2
    (tmp_path / "theirs.csv").write_text(text.format(name=used["test"][0].name))
    said = refused(run, exp, "cpc2", f"compare='{tmp_path / 'theirs.csv'}'")
    assert "compare" in said and reason in said


def test_a_mapping_of_cpc2_on_another_corpus(cpc2, tmp_path: Path) -> None:
    """Elsewhere the mapping on all of CPC2's dev signals counts, whatever the sets are called."""
    used = make_challenge(tmp_path, "cpc3")
    assert {one.listener.id for one in used["test"]} <= {"Mild", "Moderate", "Moderately severe"}
    calibration = cpc2[0] / "calibration.json"
    results = run(tmp_path, "cpc3", f"calibration='{calibration}'")
    fit = json.loads(calibration.read_text())["measures"]["dec"]
    rows = pd.read_csv(tmp_path / "predictions.csv")
    expected = 100 / (1 + np.exp(-fit["k"] * (100 * rows["dec_similarity"] - fit["x0"])))
    assert np.allclose(rows["dec_prediction"], expected)
    assert results["leaks"]["mapping"]["signals"]["seen"] == 0
