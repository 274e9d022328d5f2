"""Whatever is in a file: every outcome of a reader is a result or one of our errors."""

import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.made.release import dump, listeners, make_release
from evaluate import predict
from intelligibility.corpora import read_archives
from intelligibility.corpora.clarity import read_list
from intelligibility.corpora.cpc1 import parse
from intelligibility.corpora.listeners import read_listeners
from intelligibility.corpora.presentation import left_out, read_presentations, write_presentations
from intelligibility.evaluation.compare import joined_with, read_other
from intelligibility.evaluation.mapping import FittedMapping
from intelligibility.experiment import read_table
from intelligibility.preparation.check import check_archives, check_headers, usable
from intelligibility.runs import RecipeError, read_json
from intelligibility.work import Journal
from tests.conftest import configure

QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
ABSURD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["../x", "/", "\x00", "L0001", "S" * 10000, "1e999"]),
    lambda inner: (
        st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner, max_size=5)
    ),
    max_leaves=12,
)
ENTRY = {
    "signal": "S10000_L0001_E001",
    "scene": "S10000",
    "listener": "L0001",
    "system": "E001",
    "prompt": "anna keeps two old boats",
    "correctness": 40.0,
}
PRESENTED = ENTRY | {
    "processed": "/data/a.wav",
    "reference": "/data/b.wav",
    "lead_in": 2.0,
    "made_from": "ab12",
}
FIT = {"x0": 80.0, "k": 0.2, "n_signals": 36, "RMSE": 20.0}
CALIBRATION = {"checkpoint_sha256": "5e" * 32, "mean_correctness": 60.0, "measures": {"dec": FIT}}
PREDICTED = {"signal": "S1", "correctness": "40.0", "dec_prediction": "50.0", "enc_prediction": ""}


def damaged(whole: dict, draw: st.DataObject) -> dict:
    """Replace or remove a few of the fields of a sound entry."""
    entry = dict(whole)
    for key in draw.draw(st.lists(st.sampled_from(sorted(whole)), max_size=3)):
        if draw.draw(st.booleans()):
            entry[key] = draw.draw(ABSURD)
        else:
            entry.pop(key, None)
    return entry


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    return make_release(tmp_path_factory.mktemp("fuzz"), n_train=1, n_test=1)


@QUICK
@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | ABSURD.map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_as_metadata(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    read_signals = partial(read_list, parse=parse)
    for read in (read_json, read_signals, read_listeners, read_presentations, FittedMapping.read):
        try:
            read(path)
        except RecipeError as error:
            assert "x.json" in str(error)
            assert len(str(error)) < 2000


@QUICK
@given(st.data())
def test_damaged_entries(tmp_path, data):
    path = tmp_path / "CPC1.train.json"
    dump(path, [damaged(ENTRY, data) for _ in range(3)])
    responses, faults = read_list(path, parse)
    assert len(responses) + len(faults) == 3
    for response in responses:
        assert "/" not in response.signal and response.signal not in (".", "..")
        assert response.correctness is None or 0 <= response.correctness <= 100


@settings(QUICK, max_examples=50)
@given(st.data())
def test_a_damaged_release(release, tmp_path, data):
    archive = release / "clarity_CPC1_data_train/metadata"
    dump(archive / "CPC1.train.json", [ENTRY, damaged(ENTRY, data)])
    audiograms = listeners()
    name = data.draw(st.sampled_from([*audiograms, "L0003"]))
    audiograms[name] = damaged(audiograms.get(name, audiograms["L0001"]), data)
    dump(archive / "listeners.CPC1_train.json", audiograms)
    try:
        archives = read_archives(configure(release, tmp_path), "")
    except RecipeError:
        return
    _, problems = check_headers(archives)
    problems = [*check_archives(archives), *problems]
    used = usable(archives, left_out(problems))
    assert len(used["train"]) + sum(one.stops != "" for one in problems) >= 2
    for one in used["train"]:
        assert one.listener.id in audiograms and one.processed.is_file()
    assert all(len(problem.where) < 2000 for problem in problems)
    path = tmp_path / "presentations.json"
    write_presentations(path, used, {})
    assert [one.name for one in read_presentations(path)["train"]] == [
        one.name for one in used["train"]
    ]


@QUICK
@given(st.data())
def test_damaged_records(tmp_path, data):
    record = damaged(PRESENTED, data)
    listener = damaged(listeners()["L0001"], data)
    people = data.draw(st.just({"L0001": listener}) | ABSURD)
    content = {"listeners": {"test": people}, "test": data.draw(st.just([record]) | ABSURD)}
    path = tmp_path / "presentations.json"
    dump(path, damaged(content, data))
    try:
        found = read_presentations(path)
    except RecipeError as error:
        assert "presentations.json" in str(error) and len(str(error)) < 2000
        return
    for one in found.get("test", []):
        assert one.correctness is None or 0 <= one.correctness <= 100
        assert one.listener.audiogram_left.levels.max() < 105


@QUICK
@given(st.text(max_size=300) | st.lists(st.text(max_size=20), max_size=6).map(",".join))
def test_any_text_as_a_table(tmp_path, text):
    path = tmp_path / "left_dev_msbg.csv"
    path.write_bytes(b"ID,duration,wav,spk_id,wrd\n" + text.encode())
    try:
        rows = read_table(path)
    except RecipeError:
        return
    for row in rows:
        assert row["wav"].is_relative_to(tmp_path.resolve())
        assert row["duration"] > 0


@QUICK
@given(st.lists(ABSURD.map(json.dumps) | st.text(max_size=60), max_size=4))
def test_any_lines_as_a_journal(tmp_path, lines):
    path = tmp_path / "prepared.jsonl"
    path.write_bytes("\n".join(lines).encode())
    Journal(path).add("a", {"n": 1}, {"m": 2})
    assert Journal(path).result("a", {"n": 1}) == {"m": 2}


@settings(QUICK, max_examples=60)
@given(st.data())
def test_any_mapping_as_a_calibration(tmp_path, data):
    fits = data.draw(st.just({"dec": damaged(FIT, data)}) | ABSURD)
    path = tmp_path / "calibration.json"
    dump(path, damaged(CALIBRATION | {"measures": fits}, data))
    try:
        mapping = FittedMapping.read(path)
    except RecipeError as error:
        assert "calibration.json" in str(error) and len(str(error)) < 2000
        return
    json.dumps(mapping.as_json(), allow_nan=False).encode()
    test = pd.DataFrame({"dec_similarity": [-1.0, 0.0, 1.0], "set": ""})
    if "dec" in mapping.fits:
        predict(test, mapping)
        assert test["dec_prediction"].between(0, 100).all()


@settings(QUICK, max_examples=60)
@given(st.data())
def test_any_text_as_predictions_to_compare(tmp_path, data):
    rows = [damaged(PREDICTED | {"signal": f"S{number}"}, data) for number in (1, 2)]
    path = tmp_path / "predictions.csv"
    pd.DataFrame(rows).to_csv(path, index=False, errors="replace")
    if data.draw(st.booleans()):
        start = path.read_bytes()[: data.draw(st.integers(0, 60))]
        path.write_bytes(start + data.draw(st.binary()))
    test = pd.DataFrame({"signal": ["S1", "S2"], "correctness": [40.0, 40.0]})
    try:
        joined, pairs = joined_with(test, ["enc", "dec"], read_other(path))
    except RecipeError as error:
        assert "compare" in str(error) and len(str(error)) < 2000
        return
    for _, name in pairs[1:]:
        assert joined[f"{name}_prediction"].dropna().between(0, 100).all()
