"""The prepare stage without a hearing loss: the last row of the paper's Table 2."""

import numpy as np
import pytest
import soundfile as sf

import prepare_data
from benchmarks.made.release import make_release
from intelligibility.ears import ear_signals
from intelligibility.experiment import EARS, SPLITS, Experiment, read_table
from intelligibility.runs import read_json
from tests.conftest import configure


def prepare(release, exp, *overrides):
    """Run the stage in this process."""
    cfg = configure(release, exp, *overrides)
    prepare_data.run(cfg)
    return Experiment.from_config(cfg)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Return the same release with a hearing loss and without."""
    root = tmp_path_factory.mktemp("ablation")
    release = make_release(root / "cpc1")
    with_ = prepare(release, root / "exp")
    before = {path: path.read_bytes() for path in with_.exp_folder.rglob("*") if path.is_file()}
    return release, with_, prepare(release, root / "exp", "hearing_loss=none"), before


def test_it_lies_apart_and_touches_nothing(both):
    _, with_, without, before = both
    assert len(before) > 20
    for path, content in before.items():
        assert path.read_bytes() == content
    assert without.data_folder.is_relative_to(with_.exp_folder / "no_hearing_loss")


def test_it_has_the_same_signals_of_the_same_scenes(both):
    _, with_, without, _ = both
    assert with_.scene_list("dev") == without.scene_list("dev")
    compared = 0
    for split in SPLITS:
        for kind in ("msbg", "ref"):
            names = [
                [row["ID"] for row in read_table(one.table("left", split, kind))]
                for one in (with_, without)
            ]
            assert names[0] == names[1] != []
            compared += 1
    assert compared == 6


def test_signals_are_at_16_khz_and_nothing_else(both):
    release, with_, without, _ = both
    for row in read_table(without.table("left", "test", "msbg")):
        raw = release / f"clarity_CPC1_data_test/clarity_data/HA_outputs/test/{row['ID']}.wav"
        signal, rate = sf.read(raw)
        expected = ear_signals(signal, rate, None, {}, 2.0)
        for ear, channel in zip(EARS, expected.T, strict=True):
            found, _ = sf.read(without.ear_wav("test", "msbg", ear, row["ID"]), dtype="float32")
            np.testing.assert_array_equal(found, channel)
            impaired, _ = sf.read(with_.ear_wav("test", "msbg", ear, row["ID"]), dtype="float32")
            assert len(impaired) != len(found) or not np.allclose(impaired, found, atol=1e-4)


def test_references_are_the_same(both):
    _, with_, without, _ = both
    for row in read_table(without.table("left", "test", "ref")):
        other = with_.data_folder / row["wav"].relative_to(without.data_folder.resolve())
        assert row["wav"].read_bytes() == other.read_bytes()


def test_the_record_says_so(both):
    _, _, without, _ = both
    assert read_json(without.presentations)["provenance"]["config"]["hearing_loss"] == "none"
