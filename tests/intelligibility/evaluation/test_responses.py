"""Similarities matched with responses: what is used, what is left out and said, what is refused."""

import json
import logging

import pytest

from intelligibility.corpora.cpc1 import Cpc1
from intelligibility.evaluation.responses import better_ear, read_signals
from intelligibility.runs import RecipeError
from tests.conftest import configure, edit
from tests.evaluation_data import make_experiment

RESPONSES = "clarity_CPC1_data_test/metadata/CPC1.test.json"


@pytest.fixture
def made(tmp_path):
    """Return the root, the experiment folder and the paths of a small experiment."""
    root, exp = make_experiment(tmp_path)
    return root, exp, Cpc1.from_config(configure(root, exp))


def test_matches_by_name_not_by_order(made):
    root, exp, cpc1 = made
    similarities = json.loads((exp / "test_enc_similarity.json").read_text())
    entries = {entry["signal"]: entry for entry in json.loads((root / RESPONSES).read_text())}
    shuffled = dict(sorted(similarities.items(), key=lambda item: item[1]))
    (exp / "test_enc_similarity.json").write_text(json.dumps(shuffled))
    signals, counts = read_signals(cpc1, "test")
    assert list(signals["signal"]) == sorted(similarities)
    for row in signals.to_dict("records"):
        assert row["enc_similarity"] == similarities[row["signal"]]
        assert row["correctness"] == entries[row["signal"]]["correctness"]
    n = len(similarities)
    assert counts == {"matched": n, "unlabelled": 0, "missing": 0, "double": 0, "unknown": 0}


def test_dev_holds_the_dev_scenes_only(made):
    _, exp, cpc1 = made
    scenes = json.loads((exp / "data_split/scene_dev_list.json").read_text())
    signals, counts = read_signals(cpc1, "dev")
    assert sorted(signals["scene"].unique()) == scenes
    assert counts["missing"] == 0  # training signals are not missed


def test_lists_missing_double_and_unknown_signals_with_counts(made, caplog):
    root, exp, cpc1 = made
    edit(root / RESPONSES, lambda entries: entries.append(dict(entries[0])))
    gone = sorted(json.loads((exp / "test_enc_similarity.json").read_text()))[-2:]

    def drop_two_add_one(similarities):
        for name in gone:
            del similarities[name]
        similarities["S99999_L0001_E001"] = 0.8

    for measure in ("enc", "dec"):
        edit(exp / f"test_{measure}_similarity.json", drop_two_add_one)
    with caplog.at_level(logging.WARNING):
        signals, counts = read_signals(cpc1, "test")
    assert {key: counts[key] for key in ("missing", "double", "unknown")} == {
        "missing": 2,
        "double": 1,
        "unknown": 1,
    }
    assert f"2 signals with a response, but with no similarity: {gone[0]}; {gone[1]}" in caplog.text
    assert "1 signals with more than one response" in caplog.text
    assert "S99999_L0001_E001" in caplog.text
    assert signals["signal"].is_unique and "S99999_L0001_E001" not in set(signals["signal"])


def test_responses_that_contradict_each_other_are_refused(made):
    root, _, cpc1 = made

    def contradict(entries):
        other = 0.0 if entries[0]["correctness"] else 20.0
        entries.append(entries[0] | {"correctness": other})

    edit(root / RESPONSES, contradict)
    with pytest.raises(RecipeError, match="contradict each other: S2.*keep one"):
        read_signals(cpc1, "test")


def test_responses_may_be_released_apart_and_for_a_part(made, tmp_path):
    root, exp, _ = made
    entries = json.loads((root / RESPONSES).read_text())
    apart = tmp_path / "responses"
    apart.mkdir()
    (apart / "CPC1.test.json").write_text(json.dumps(entries[:10]))
    unlabelled = [{k: v for k, v in entry.items() if k != "correctness"} for entry in entries]
    (root / RESPONSES).write_text(json.dumps(unlabelled))
    cpc1 = Cpc1.from_config(configure(root, exp, f"path.test_responses='{apart}'"))
    signals, counts = read_signals(cpc1, "test")
    assert counts["matched"] == 10 and counts["unlabelled"] == len(entries) - 10
    assert signals["correctness"].notna().sum() == 10 and counts["missing"] == 0


def test_damaged_entries_that_were_left_out_are_left_out_here_too(made, tmp_path, caplog):
    root, exp, cpc1 = made
    train = root / "clarity_CPC1_data_train/metadata/CPC1.train.json"
    for path in (train, root / RESPONSES):
        edit(path, lambda entries: entries.extend([{"signal": "S9"}, 3]))
    assert read_signals(cpc1, "dev")[1]["matched"] == 36
    assert read_signals(cpc1, "test")[1]["matched"] == 72
    for path in (train, root / RESPONSES):
        assert f"{path}: 2 damaged entries are left out: entry 73: scene is None" in caplog.text
    with pytest.raises(RecipeError, match="entry 74: 3 where a mapping"):
        cpc1.signals("test")
    (tmp_path / "CPC1.test.json").write_text("[]")  # no response is released yet
    cpc1 = Cpc1.from_config(configure(root, exp, f"path.test_responses='{tmp_path}'"))
    assert read_signals(cpc1, "test")[1]["unlabelled"] == 0  # the release's are still known


@pytest.mark.parametrize("value", ["null", "NaN", "1.2", '"high"', "true"])
def test_a_similarity_that_is_none_is_named(made, value):
    _, exp, cpc1 = made
    (exp / "test_dec_similarity.json").write_text(f'{{"S2_L1_E1": {value}}}')
    with pytest.raises(RecipeError, match="test_dec_similarity.json: S2_L1_E1.*run infer.py"):
        read_signals(cpc1, "test")


def test_measures_of_different_signals_are_refused(made):
    _, exp, cpc1 = made
    gone = []
    edit(exp / "dev_dec_similarity.json", lambda values: gone.append(values.popitem()[0]))
    with pytest.raises(
        RecipeError, match=rf"dev: .* dec_similarity lacks 1 of 36 signals \({gone[0]}\); run infer"
    ):
        read_signals(cpc1, "dev")


def test_no_similarities_at_all(made):
    _, exp, cpc1 = made
    for measure in ("enc", "dec"):
        (exp / f"test_{measure}_similarity.json").unlink()
    with pytest.raises(RecipeError, match="test_enc_similarity.json: no such file; run infer.py"):
        read_signals(cpc1, "test")


def test_similarities_of_something_else(made):
    _, exp, cpc1 = made
    for measure in ("enc", "dec"):
        (exp / f"test_{measure}_similarity.json").write_text('{"S99999_L0001_E001": 0.8}')
    with pytest.raises(RecipeError, match="none of the 1 signals.*cpc1_track"):
        read_signals(cpc1, "test")


def test_an_empty_dev_says_what_is_needed(made):
    _, exp, cpc1 = made
    (exp / "data_split/scene_dev_list.json").write_text("[]")
    with pytest.raises(RecipeError, match="dev is empty.*at least 3 dev signals.*dev_percent"):
        read_signals(cpc1, "dev")


def test_the_better_ear_stands_for_the_listener(made):
    root, _, cpc1 = made
    signals, _ = read_signals(cpc1, "test")
    name = signals["listener"].iloc[0]

    def raise_left(listeners):
        listeners[name]["audiogram_levels_l"] = [90] * 8
        listeners[name]["audiogram_levels_r"] = [0, 0, 0, 40, 40, 40, 40, 45]

    edit(root / "clarity_CPC1_data_test/metadata/listeners.CPC1_all.json", raise_left)
    ears = better_ear(cpc1, signals["listener"])
    assert ears.loc[name, "level"] == pytest.approx(41) and ears.loc[name, "severity"] == "MODERATE"


def test_no_audiograms_is_a_warning_and_an_unknown_listener_an_error(made, caplog):
    root, _, cpc1 = made
    signals, _ = read_signals(cpc1, "test")
    listeners = root / "clarity_CPC1_data_test/metadata/listeners.CPC1_all.json"
    edit(listeners, lambda content: content.pop("L0003"))
    with pytest.raises(RecipeError, match="listeners.CPC1_all.json: no audiogram of L0003"):
        better_ear(cpc1, signals["listener"])
    listeners.unlink()
    with caplog.at_level(logging.WARNING):
        assert better_ear(cpc1, signals["listener"]).empty
    assert "Nothing by severity" in caplog.text
