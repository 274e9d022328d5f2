"""What the later stages will lack, found from a few files before the first of them starts."""

from pathlib import Path

import pytest

from benchmarks.made.recogniser import make_tokenizer
from benchmarks.made.release import dump
from intelligibility.corpora.presentation import Presentation, Problem
from intelligibility.experiment import Experiment
from intelligibility.preparation.readiness import check_later_stages
from intelligibility.runs import write_json
from msbg import Audiogram, Listener
from tests.conftest import configure

PERSON = Listener(Audiogram([40] * 8), Audiogram([45] * 8), "L0001")


def presentation(scene: str, correctness: float | None, prompt: str = "anna keeps two old boats"):
    """Return a presentation of which only the words and the answer count here."""
    name, wavs = f"{scene}_L0001_E001", (Path(f"/{scene}.wav"), Path(f"/{scene}_ref.wav"))
    return Presentation(name, scene, PERSON, "E001", prompt, correctness, *wavs, 2.0)


@pytest.fixture
def used() -> dict[str, list[Presentation]]:
    """Return three dev scenes, a training scene and a test scene, all with an answer."""
    dev = [presentation(f"S{n}", 20.0 * n) for n in (1, 2, 3)]
    return {"train": [*dev, presentation("S4", 40.0)], "test": [presentation("S5", 60.0)]}


def check(tmp_path, used, *overrides: str, dev=("S1", "S2", "S3")) -> list[Problem]:
    """Look ahead with a configuration that trains from scratch, unless it says otherwise."""
    start = [] if any("pretrained" in word for word in overrides) else ["from_scratch=true"]
    cfg = configure(tmp_path, tmp_path / "exp", *start, *overrides)
    return check_later_stages(cfg, Experiment.from_config(cfg), used, set(dev))


def test_nothing_is_lacking(tmp_path, used):
    assert check(tmp_path, used) == []
    assert not (tmp_path / "exp").exists()


def test_something_to_start_from(tmp_path, used):
    (problem,) = check(tmp_path, used, "from_scratch=false")
    assert problem.stops == "train_asr.py"
    assert f"put a checkpoint in {tmp_path}/exp/transformer_cpc1/save" in problem.where
    assert "or do without train_asr.py, with recogniser= one of the hub" in problem.where
    assert check(tmp_path, used, "from_scratch=false", "recogniser=openai/whisper-tiny.en") == []
    # A hub id is looked up when it is fetched, and no sooner.
    assert check(tmp_path, used, "pretrained=speechbrain/asr-transformer") == []
    (problem,) = check(tmp_path, used, "pretrained=./nowhere")
    assert (problem.where, problem.stops) == ("./nowhere is no folder", "train_asr.py")


def test_a_pretrained_folder_has_three_files(tmp_path, used):
    folder = tmp_path / "pretrained"
    folder.mkdir()
    (folder / "tokenizer.ckpt").write_bytes(make_tokenizer(30))
    found = check(tmp_path, used, f"pretrained='{folder}'")
    assert [one.where for one in found] == [
        f"{folder}/{name} is missing" for name in ("asr.ckpt", "normalizer.ckpt")
    ]
    assert {one.stops for one in found} == {"train_asr.py"}


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([20, 40], "2 dev signals with 2 different responses"),
        ([20, 20, 20], "3 dev signals with 1 different responses"),
        ([20, 40, None], "2 dev signals with 2 different responses"),
        ([], "0 dev signals with 0 different responses"),
        ([20, 40, 40], None),
    ],
)
def test_dev_answers_have_to_determine_a_logistic(tmp_path, used, answers, found):
    dev = [presentation(f"S{n}", one) for n, one in enumerate(answers)]
    used["train"] = [*dev, *(presentation(f"T{n}", 10.0 * n) for n in range(5))]
    problems = check(tmp_path, used, dev=[one.scene for one in dev])
    assert [one.stops for one in problems] == ([] if found is None else ["evaluate.py"])
    assert found is None or problems[0].where.startswith(f"{found}, the logistic needs 3")
    # Nothing is fitted with a mapping of another run.
    assert check(tmp_path, used, "calibration=other.json", dev=[one.scene for one in dev]) == []


def test_test_signals_alone_need_a_mapping(tmp_path, used):
    del used["train"]
    (problem,) = check(tmp_path, used, dev=[])
    assert problem.stops == "evaluate.py" and "give calibration=other/cal" in problem.where
    assert check(tmp_path, used, "calibration=other.json", dev=[]) == []
    # Of a run with both archives.
    write_json(tmp_path / "exp/data_split/scene_dev_list.json", ["S1"])
    assert check(tmp_path, used, dev=[]) == []


def test_test_signals_without_an_answer_are_notices(tmp_path, used):
    used["test"] = [presentation("S5", None), presentation("S6", 40.0)]
    (problem,) = check(tmp_path, used)
    assert (problem.where, problem.stops, problem.signals) == ("S5_L0001_E001", "", ())


def test_late_responses_count_as_well(tmp_path, used):
    (problem,) = check(tmp_path, used, f"path.test_responses='{tmp_path}'")
    assert problem.stops == "evaluate.py" and "CPC1.test.json: no such file" in problem.where
    used["test"] = [presentation("S5", None), presentation("S6", 40.0)]
    used["test"].append(presentation("S7", None))
    names = {"scene": "S5", "listener": "L0001", "system": "E001", "prompt": "anna"}
    dump(tmp_path / "CPC1.test.json", [names | {"signal": "S5_L0001_E001", "correctness": 10}])
    (problem,) = check(tmp_path, used, f"path.test_responses='{tmp_path}'")
    assert (problem.where, problem.stops) == ("S7_L0001_E001", "")
