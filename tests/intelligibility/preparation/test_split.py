"""The development scenes: drawn once and for all, or listed by hand."""

import json
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from intelligibility.corpora.presentation import Archive
from intelligibility.experiment import Experiment
from intelligibility.preparation.split import choose_split, draw_split, write_split
from intelligibility.runs import RecipeError, write_json

SCENES = [f"S{number:02d}" for number in range(20)]


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    return Experiment(tmp_path, tmp_path / "asr")


def split(
    experiment: Experiment, scenes: list[str], seed: int = 1, dev_percent: float = 0.3
) -> dict[str, str]:
    """Choose and write a split as prepare_data.py does; return it by scene."""
    cfg = OmegaConf.create({"seed": seed, "dev_percent": dev_percent})
    archives = {"train": Archive(experiment.exp_folder / "CPC1.train.json", [], scenes)}
    split_of, hand_made = choose_split(experiment, archives, cfg)
    write_split(experiment, split_of, cfg, hand_made)
    return split_of


def lists(experiment: Experiment) -> dict[str, list[str]]:
    """Read the two lists."""
    return {s: json.loads(experiment.scene_list(s).read_text()) for s in ("train", "dev")}


@pytest.mark.parametrize(
    ("n_scenes", "share", "n_dev"),
    [(20, 0.3, 6), (4, 0.3, 1), (3, 0.3, 0), (7, 0.99, 6), (9, 0, 0)],
)
def test_the_share_is_rounded_down_and_no_scene_is_lost(n_scenes, share, n_dev):
    drawn = draw_split(SCENES[:n_scenes], share, 1)
    assert len(drawn["dev"]) == n_dev
    assert sorted(drawn["train"] + drawn["dev"]) == SCENES[:n_scenes]
    assert drawn["dev"] == sorted(drawn["dev"])


def test_a_seed_gives_a_split_of_its_own_and_always_the_same():
    splits = {tuple(draw_split(SCENES, 0.3, seed)["dev"]) for seed in range(5)}
    assert len(splits) > 1
    assert draw_split(SCENES, 0.3, 3) == draw_split(SCENES, 0.3, 3)
    # Frozen: a split that moved would mix what was trained on with what is tested.
    assert draw_split(SCENES, 0.3, 1)["dev"] == ["S02", "S03", "S04", "S07", "S08", "S18"]


def test_the_lists_and_how_they_were_drawn_are_written(experiment):
    split_of = split(experiment, SCENES)
    found = lists(experiment)
    assert {scene: name for name, scenes in found.items() for scene in scenes} == split_of
    record = json.loads(experiment.split_record.read_text())
    assert record == {"seed": 1, "dev_percent": 0.3, "drawn": found}


def test_another_seed_draws_a_new_split_and_says_so(experiment, caplog):
    first = split(experiment, SCENES)
    assert split(experiment, SCENES) == first
    assert "a new split is drawn" not in caplog.text
    assert split(experiment, SCENES, seed=2) != first
    assert "a new split is drawn" in caplog.text
    assert json.loads(experiment.split_record.read_text())["seed"] == 2


def test_a_split_made_by_hand_is_kept_or_refused(experiment):
    split(experiment, ["S1", "S2", "S3"], dev_percent=0.4)  # a drawn one is there before
    write_json(experiment.scene_list("dev"), ["S2", "S3"])
    write_json(experiment.scene_list("train"), ["S1"])
    for seed in (1, 2):
        split_of = split(experiment, ["S1", "S2", "S3"], seed, 0.4)
        assert split_of == {"S1": "train", "S2": "dev", "S3": "dev"}
        assert lists(experiment) == {"train": ["S1"], "dev": ["S2", "S3"]}
    with pytest.raises(RecipeError, match="each of the 4 training scenes once; fix them, or del"):
        split(experiment, ["S1", "S2", "S3", "S4"])


@pytest.mark.parametrize("dev", [["S1", "S2", "S2"], ["S1"], [7, None], [["S1"]]])
def test_lists_by_hand_that_are_not_each_scene_once_are_refused(experiment, dev):
    write_json(experiment.scene_list("dev"), dev)
    write_json(experiment.scene_list("train"), ["S3"])
    with pytest.raises(RecipeError, match="do not hold each of the 3 training scenes once"):
        split(experiment, ["S1", "S2", "S3"])


def test_half_a_split_is_not_taken_for_one_made_by_hand(experiment):
    whole = split(experiment, SCENES)
    experiment.scene_list("train").unlink()
    assert split(experiment, SCENES) == whole
    assert sorted(lists(experiment)["train"] + lists(experiment)["dev"]) == SCENES


def test_a_test_archive_alone_draws_nothing_and_leaves_the_lists_of_before(experiment):
    cfg = OmegaConf.create({"seed": 1, "dev_percent": 0.3})

    def write_without_training():
        assert choose_split(experiment, {}, cfg) == ({}, False)
        write_split(experiment, {}, cfg, False)

    write_without_training()
    assert not experiment.split_record.exists() and not experiment.scene_list("dev").exists()
    whole = split(experiment, SCENES)
    write_without_training()
    assert {s: name for name, scenes in lists(experiment).items() for s in scenes} == whole


def test_an_ablation_takes_the_split_of_what_it_is_compared_with(experiment):
    ablation = replace(experiment, ablation="no_hearing_loss")
    split(ablation, SCENES, seed=2)
    drawn = split(ablation, SCENES, seed=3)  # nothing rests on it yet
    experiment.data_folder.mkdir()
    experiment.prepared_journal.touch()
    with pytest.raises(RecipeError, match="takes the split of .*; give seed=3 dev_percent=0.3, or"):
        split(ablation, SCENES, seed=4)
    assert split(ablation, SCENES, seed=3) == drawn
    assert split(experiment, SCENES, seed=4) != drawn
