"""Tasks that the metadata know, and networks that learn them."""

from dataclasses import replace

import pytest

from intelligibility.runs import RecipeError, read_json
from reconstruction.classifiers import (
    ClassifierJob,
    choose_tasks,
    fault_of,
    label_ears,
    make_classifier,
)
from reconstruction.configured import NetworkChoice
from reconstruction.networks import SmallEnc, load_weights
from tests.reconstruction.toy import make_ears


@pytest.fixture(scope="module")
def ears(tmp_path_factory):
    """Return thirty scenes, labelled."""
    plain = make_ears(tmp_path_factory.mktemp("ears"), 30)
    return label_ears(plain, plain)


def test_labels_follow_from_the_ear_and_its_scene(ears):
    assert ears[0].labels["severity"] == "MILD" and ears[2].labels["severity"] == "SEVERE"
    assert ears[0].labels["first_word"] == ears[0].prompt.split()[0]
    assert ears[0].labels["talker"] == "T0"
    levels = [ear.labels["snr"] for ear in ears[:14:2]]  # 0 to 6 dB, about equally often
    assert levels == ["low"] * 2 + ["middle"] * 3 + ["high"] * 2
    # The limits are those of the training scenes, whatever is labelled.
    other = replace(ears[0], labels={"snr": -10.0})
    assert label_ears([other], [replace(other, labels={"snr": -20.0})])[0].labels["snr"] == "high"


def test_tasks_that_the_metadata_do_not_have_are_refused(ears):
    assert not any(fault_of(task, ears) for task in ("talker", "severity", "snr"))
    assert fault_of("hearing_aid", ears) == "1 classes, expected 2 to 50"  # E1 alone
    assert choose_tasks("severity", ears) == ["severity"]
    with pytest.raises(RecipeError, match="task=hearing_aid: 1 classes.*known here: talker"):
        choose_tasks("hearing_aid", ears)
    bare = [replace(ear, labels={}) for ear in ears]
    labelled = label_ears(bare, bare)
    with pytest.raises(RecipeError, match="task=talker: not in the metadata; known here: severity"):
        choose_tasks("talker", labelled)
    assert "talker" not in choose_tasks("all", labelled)


def test_rare_classes_are_refused(ears):
    few = [replace(e, labels=e.labels | {"talker": "T9"}) if e is ears[0] else e for e in ears]
    assert fault_of("talker", few) == "1 ears of T9, expected 5 or more"


def test_a_network_learns_what_can_be_heard(ears, tmp_path):
    """The severity of the toy's ears is how noisy they are."""
    training = [ear for ear in ears if ear.scene < "S0020"]
    held_out = [ear for ear in ears if ear.scene >= "S0020"]
    job = ClassifierJob(
        record=tmp_path / "network.json",
        made_by={"what": "toy"},
        weights=tmp_path / "network.pt",
        choice=NetworkChoice("smallenc", "severity"),
        steps=40,
        seed=0,
        training=training,
        held_out=held_out,
        divisor=1,
        device="cpu",
    )
    name, scores = make_classifier(job)
    assert name == "smallenc-severity"
    assert read_json(job.record, dict) == {"task": "severity", **scores, "made_by": job.made_by}
    load_weights(job.weights, SmallEnc())
    assert scores["classes"] == ["MILD", "SEVERE"]
    assert scores["n_training"] == 40 and scores["n_held_out"] == 20  # processed signals only
    assert scores["chance"] == 50
    assert scores["accuracy"] >= 90
