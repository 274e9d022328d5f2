"""Similarities matched with responses: what is used, what is left out and said, what is refused."""

import json
import logging

import pytest

from benchmarks.made.experiment import make_experiment
from intelligibility.corpora import known_presentations, late_responses
from intelligibility.corpora.presentation import write_presentations
from intelligibility.evaluation.responses import better_ear, read_signals
from intelligibility.experiment import Experiment
from intelligibility.runs import RecipeError
from tests.conftest import configure, edit

RESPONSES = "clarity_CPC1_data_test/metadata/CPC1.test.json"


def read(exp, split, *overrides):
    """Read a split as evaluate.py does."""
    cfg = configure(exp.parent, exp, *overrides)
    presentations = known_presentations(cfg, "", exp / "presentations.json")
    late = None
    if cfg.path.test_responses is not None:
        late = late_responses(cfg, "", presentations["test"])
    return read_signals(Experiment.from_config(cfg), split, presentations, late)


def presentations_of(exp):
    """Return the experiment's presentations."""
    return known_presentations(configure(exp.parent, exp), "", exp / "presentations.json")


def listeners_of(exp):
    """Return the test listeners."""
    return {one.listener.id: one.listener for one in presentations_of(exp)["test"]}


@pytest.fixture
def exp(tmp_path):
    """Return the folder of a small experiment."""
    return make_experiment(tmp_path)


def test_matches_by_name_not_by_order(exp):
    similarities = json.loads((exp / "test_enc_similarity.json").read_text())
    entries = {entry["signal"]: entry for entry in json.loads((exp.parent / RESPONSES).read_text())}
    shuffled = dict(sorted(similarities.items(), key=lambda item: item[1]))
    (exp / "test_enc_similarity.json").write_text(json.dumps(shuffled))
    signals, counts = read(exp, "test")
    assert list(signals["signal"]) == sorted(similarities)
    for row in signals.to_dict("records"):
        assert row["enc_similarity"] == similarities[row["signal"]]
        assert row["correctness"] == entries[row["signal"]]["correctness"]
    n = len(similarities)
    assert counts == {"matched": n, "unlabelled": 0, "missing": 0, "double": 0, "unknown": 0}


def test_a_signal_whose_baseline_was_left_out_counts_for_no_measure(exp, caplog):
    similarities = json.loads((exp / "test_enc_similarity.json").read_text())
    name = min(similarities)
    (exp / "test_stoi_similarity.json").write_text(
        json.dumps({one: value for one, value in similarities.items() if one != name})
    )
    with pytest.raises(RecipeError, match="stoi_similarity lacks 1 of"):
        read(exp, "test")
    record = {"baselines": {"stoi": {"left_out": {"dev": [], "test": [name]}}}}
    (exp / "baselines.json").write_text(json.dumps(record))
    signals, counts = read(exp, "test")
    assert name not in set(signals["signal"]) and counts["missing"] == 0
    assert f"test: 1 signals count for no measure, for baselines.py left an index out: {name}" in (
        caplog.text
    )


def test_dev_holds_the_dev_scenes_only(exp):
    scenes = json.loads((exp / "data_split/scene_dev_list.json").read_text())
    signals, counts = read(exp, "dev")
    assert sorted(signals["scene"].unique()) == scenes
    assert counts["missing"] == 0  # training signals are not missed


def test_lists_missing_double_and_unknown_signals_with_counts(exp, caplog):
    edit(exp.parent / RESPONSES, lambda entries: entries.append(dict(entries[0])))
    gone = sorted(json.loads((exp / "test_enc_similarity.json").read_text()))[-2:]

    def drop_two_add_one(similarities):
        for name in gone:
            del similarities[name]
        similarities["S99999_L0001_E001"] = 0.8

    for measure in ("enc", "dec"):
        edit(exp / f"test_{measure}_similarity.json", drop_two_add_one)
    with caplog.at_level(logging.WARNING):
        signals, counts = read(exp, "test")
    assert [counts[key] for key in ("missing", "double", "unknown")] == [2, 1, 1]
    assert f"2 signals with a response, but with no similarity: {gone[0]}; {gone[1]}" in caplog.text
    assert "1 signals with more than one response" in caplog.text
    assert "S99999_L0001_E001" in caplog.text
    assert signals["signal"].is_unique and "S99999_L0001_E001" not in set(signals["signal"])


def test_responses_that_contradict_each_other_are_refused(exp):

    def contradict(entries):
        other = 0.0 if entries[0]["correctness"] else 20.0
        entries.append(entries[0] | {"correctness": other})

    edit(exp.parent / RESPONSES, contradict)
    with pytest.raises(RecipeError, match="contradict each other: S2.*keep one"):
        read(exp, "test")


def test_responses_may_be_released_apart_and_for_a_part(exp, tmp_path):
    entries = json.loads((exp.parent / RESPONSES).read_text())
    apart = tmp_path / "responses"
    apart.mkdir()
    (apart / "CPC1.test.json").write_text(json.dumps(entries[:10]))
    unlabelled = [{k: v for k, v in entry.items() if k != "correctness"} for entry in entries]
    (exp.parent / RESPONSES).write_text(json.dumps(unlabelled))
    signals, counts = read(exp, "test", f"path.test_responses='{apart}'")
    assert counts["matched"] == 10 and counts["unlabelled"] == len(entries) - 10
    assert signals["correctness"].notna().sum() == 10 and counts["missing"] == 0


def test_damaged_late_responses_are_left_out_with_a_word(exp, tmp_path, caplog):
    entries = json.loads((exp.parent / RESPONSES).read_text())
    path = tmp_path / "CPC1.test.json"
    path.write_text(json.dumps([*entries, {"signal": "S9"}, 3]))
    late = f"path.test_responses='{tmp_path}'"
    assert read(exp, "test", late)[1]["matched"] == 72
    assert f"{path}: 2 damaged entries are left out: entry 73: scene is None" in caplog.text
    path.write_text("[]")  # no response is released yet
    counts = read(exp, "test", late)[1]
    assert counts["unlabelled"] == 0 and counts["matched"] == 72  # the release's are still known


def test_damaged_entries_of_the_release_are_left_out_with_a_word(exp, caplog):
    train = exp.parent / "clarity_CPC1_data_train/metadata/CPC1.train.json"
    for path in (train, exp.parent / RESPONSES):
        edit(path, lambda entries: entries.extend([{"signal": "S9"}, 3]))
    assert read(exp, "dev")[1]["matched"] == 36
    assert read(exp, "test")[1]["matched"] == 72
    for path in (train, exp.parent / RESPONSES):
        assert f"2 x damaged entry in {path.name}: entry 73: scene is None" in caplog.text


@pytest.mark.parametrize("value", ["null", "NaN", "1.2", '"high"', "true"])
def test_a_similarity_that_is_none_is_named(exp, value):
    (exp / "test_dec_similarity.json").write_text(f'{{"S2_L1_E1": {value}}}')
    with pytest.raises(RecipeError, match="test_dec_similarity.json: S2_L1_E1.*run infer.py"):
        read(exp, "test")


def test_measures_of_different_signals_are_refused(exp):
    gone = []
    edit(exp / "dev_dec_similarity.json", lambda values: gone.append(values.popitem()[0]))
    with pytest.raises(
        RecipeError, match=rf"dev: .* dec_similarity lacks 1 of 36 signals \({gone[0]}\); run infer"
    ):
        read(exp, "dev")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "test_enc_similarity.json: no such file; run infer.py"),
        ('{"S99999_L0001_E001": 0.8}', "none of the 1 signals.*cpc1_track"),
    ],
)
def test_no_similarities_or_those_of_something_else(exp, content, says):
    for path in exp.glob("test_*_similarity.json"):
        path.unlink() if content is None else path.write_text(content)
    with pytest.raises(RecipeError, match=says):
        read(exp, "test")


def test_an_empty_dev_says_what_is_needed(exp):
    scenes = exp / "data_split/scene_dev_list.json"
    scenes.write_text("[]")
    with pytest.raises(RecipeError, match="dev is empty.*at least 3 dev signals.*dev_percent"):
        read(exp, "dev")
    scenes.unlink()
    with pytest.raises(RecipeError, match="no dev signals to fit the logistic on.*calibration=oth"):
        read(exp, "dev")


def test_the_better_ear_stands_for_the_listener(exp):
    signals, _ = read(exp, "test")
    name = signals["listener"].iloc[0]

    def raise_left(listeners):
        listeners[name]["audiogram_levels_l"] = [90] * 8
        listeners[name]["audiogram_levels_r"] = [0, 0, 0, 40, 40, 40, 40, 45]

    edit(exp.parent / "clarity_CPC1_data_test/metadata/listeners.CPC1_all.json", raise_left)
    ears = better_ear(listeners_of(exp), signals["listener"])
    assert ears.loc[name, "level"] == pytest.approx(41) and ears.loc[name, "severity"] == "MODERATE"


def test_a_listener_without_audiograms_has_no_severity(exp, caplog):
    signals, _ = read(exp, "test")
    listeners = listeners_of(exp)
    listeners.pop("L0003")
    ears = better_ear(listeners, signals["listener"])
    assert "L0003" not in ears.index and len(ears) == 5
    assert "Nothing by severity for 1 listeners without audiograms: L0003" in caplog.text


def test_a_listener_whom_the_release_does_not_know_is_left_out_with_a_word(exp, caplog):
    signals, _ = read(exp, "test")
    path = exp.parent / "clarity_CPC1_data_test/metadata/listeners.CPC1_all.json"
    edit(path, lambda content: content.pop("L0003"))
    left, counts = read(exp, "test")
    assert set(left["listener"]) == set(signals["listener"]) - {"L0003"}
    assert counts["unknown"] == len(signals) - len(left) > 0
    assert "no audiogram in listeners.CPC1_all.json: listener L0003 of S2" in caplog.text
    assert "with a similarity, but not among the test signals: left out: S2" in caplog.text


def test_prepared_records_count_and_not_the_release(exp):
    """What the ear signals were made from is what is scored, whatever the release says later."""
    records = exp / "presentations.json"
    write_presentations(records, presentations_of(exp), {})
    edit(exp.parent / RESPONSES, lambda entries: [entry.update(correctness=0) for entry in entries])
    kept, _ = read(exp, "test")
    assert kept["correctness"].max() > 0
    (exp.parent / RESPONSES).unlink()
    again, _ = read(exp, "test")
    assert again.equals(kept)
    records.unlink()
    with pytest.raises(RecipeError, match=r"CPC1\.test\.json: no such file"):
        read(exp, "test")
