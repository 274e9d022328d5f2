"""The miniature as a whole: CPC1's layout and fields, both tracks, the same bytes each time."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import soundfile as sf
from scipy.stats import binom

from demo import hearing_aids, listeners, make_miniature
from demo.make_miniature import HELD_OUT_LISTENERS, HELD_OUT_SYSTEM, Settings, build
from intelligibility.corpora import read_archives
from tests.conftest import configure, contents

SMALL = Settings(5, 4, signals_per_scene=3, signals_per_train_scene=3)


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "data"
    assert build(folder, SMALL, n_jobs=1)
    return folder


@pytest.mark.parametrize("layout", ["cpc2", "cpc3"])
def test_other_layouts_hold_the_same_signals(miniature, tmp_path, layout):
    build(tmp_path / "data", replace(SMALL, layout=layout), n_jobs=1)
    found = read_archives(configure(tmp_path / "data", tmp_path, f"corpus={layout}"), "")
    as_cpc1 = read_archives(configure(miniature, tmp_path), "")

    def told(archive):
        return sorted(
            (one.processed.read_bytes(), one.reference.read_bytes(), one.prompt, one.correctness)
            for one in archive.presentations
        )

    for archive in ("train", "test"):
        assert told(found[archive]) == told(as_cpc1[archive]) != []
    assert layout.upper() in (tmp_path / "data/README.md").read_text()


def metadata(folder, split, name):
    return json.loads((folder / f"clarity_CPC1_data_{split}/metadata/{name}.json").read_text())


def test_two_builds_are_identical(miniature, tmp_path):
    build(tmp_path / "again", SMALL, n_jobs=2)
    assert contents(tmp_path / "again") == contents(miniature)


def test_a_second_build_does_nothing_and_another_seed_replaces(tmp_path):
    tiny = Settings(n_train_scenes=1, n_test_scenes=1, signals_per_scene=1)
    folder = tmp_path / "data"
    assert build(folder, tiny, n_jobs=1)
    before = contents(folder)
    assert not build(folder, tiny, n_jobs=1)
    assert contents(folder) == before
    assert build(folder, replace(tiny, seed=2), n_jobs=1)
    assert contents(folder) != before
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match="no miniature"):
        build(tmp_path, SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(make_miniature, "_write_metadata", fail)
    with pytest.raises(OSError, match="disk full"):
        build(tmp_path / "data", Settings(1, 1, 1), n_jobs=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("track", ["", "_indep"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_release_reader_finds_every_file(miniature, split, track):
    archive = read_archives(configure(miniature, miniature / "exp"), track)[split]
    assert archive.problems == [] and archive.presentations
    assert len(archive.presentations) == len(metadata(miniature, split, f"CPC1.{split}{track}"))
    for one in archive.presentations:
        aided, reference = sf.info(one.processed), sf.info(one.reference)
        for wav in (aided, reference):
            assert (wav.samplerate, wav.channels, wav.subtype) == (44100, 2, "PCM_16")
        assert aided.frames == reference.frames


def test_responses_have_the_fields_of_the_release_and_agree_with_themselves(miniature):
    fields = {"prompt", "scene", "n_words", "hits", "listener", "system", "correctness"}
    fields |= {"response", "volume", "signal"}
    scenes = {one["scene"]: one for one in metadata(miniature, "train", "scenes.CPC1_train")}
    for entry in metadata(miniature, "train", "CPC1.train"):
        assert set(entry) == fields
        chance = scenes[entry["scene"]]["chances"][entry["signal"]]
        assert binom.cdf(entry["hits"], 5, chance) > 1e-4 < binom.sf(entry["hits"] - 1, 5, chance)
        assert entry["signal"] == f"{entry['scene']}_{entry['listener']}_{entry['system']}"
        assert entry["n_words"] == len(entry["prompt"].split()) == 5
        assert entry["hits"] == len(entry["response"].split())
        assert entry["correctness"] == 100 * entry["hits"] / 5


def test_fields_are_those_of_the_real_release(miniature, shared):
    sample = shared / "cpc1_sample"
    for split, name in (("train", "CPC1.train"), ("test", "CPC1.test")):
        real, ours = (metadata(folder, split, name)[0] for folder in (sample, miniature))
        assert list(ours) == list(real)
        assert {k: type(v) for k, v in ours.items()} == {k: type(v) for k, v in real.items()}
    for split, name in (("train", "listeners.CPC1_train"), ("test", "listeners.CPC1_all")):
        real = metadata(sample, split, name)["L0200"]
        ours = metadata(miniature, split, name)["L9001"]
        assert list(ours) == list(real)
        assert ours["audiogram_cfs"] == real["audiogram_cfs"]


def test_the_open_track_is_unseen_in_its_training(miniature):
    def is_unseen(response):
        return response["system"] == HELD_OUT_SYSTEM or response["listener"] in HELD_OUT_LISTENERS

    assert not any(map(is_unseen, metadata(miniature, "train", "CPC1.train_indep")))
    everything = metadata(miniature, "test", "CPC1.test")
    unseen = list(filter(is_unseen, everything))
    assert metadata(miniature, "test", "CPC1.test_indep") == unseen
    assert 0 < len(unseen) < len(everything)


def test_files_say_that_speech_is_synthetic(miniature):
    for archive in ("", "clarity_CPC1_data_train", "clarity_CPC1_data_test"):
        text = (miniature / archive / "README.md").read_text()
        assert "synthetic" in text and "simulated" in text


def test_conditions_are_balanced_and_a_scene_has_several_listeners():
    plans = make_miniature.plan_scenes(Settings(n_train_scenes=160, n_test_scenes=32))
    conditions = Counter((plan.scene.snr, plan.scene.interferer) for plan in plans)
    assert set(conditions.values()) == {12}
    heard = Counter(pair for plan in plans for pair in plan.heard_by)
    assert len(heard) == len(listeners.LISTENERS) * len(hearing_aids.SYSTEMS)
    assert max(heard.values()) - min(heard.values()) <= 1
    assert {(plan.split, len(plan.heard_by)) for plan in plans} == {("train", 1), ("test", 2)}


def test_no_test_sentence_is_trained_on():
    plans = make_miniature.plan_scenes(Settings())
    prompts = {"train": set(), "test": set()}
    for plan in plans:
        prompts[plan.split].add(plan.scene.prompt)
    assert len(prompts["test"]) == 60
    assert prompts["train"].isdisjoint(prompts["test"])
