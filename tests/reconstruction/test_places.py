"""Where the layers, their speech and the table lie."""

from pathlib import Path

from intelligibility.experiment import Experiment, Place
from reconstruction.places import LayerFolder, ReconstructionFolder
from tests.conftest import RECIPE
from tests.intelligibility.test_experiment import spelt_in


def all_paths(files: ReconstructionFolder) -> list[Path]:
    """Return every file of a folder, each once."""
    layer = LayerFolder(files.layer("vggish-talker", "pool1", "reccnn"))
    controls = LayerFolder(files.controls("vggish"))
    places = [(one, name) for one in (files, layer) for name in vars(type(one))]
    named = [getattr(one, name) for one, name in places if isinstance(vars(type(one))[name], Place)]
    named += [files.network("vggish-talker"), files.network_record("vggish-talker")]
    named += [layer.training_array("ref", "left_S1", what) for what in ("layer", "mel")]
    named += [layer.embedding("ref", "left_S1"), layer.wav("wav", "ref", "left_S1")]
    named += [controls.heard(""), controls.wav("original", "ref", "left_S1"), files.figure("skill")]
    return named


def test_each_thing_has_a_file_of_its_own_in_the_folder_of_the_track(tmp_path):
    for track in ("", "_indep"):
        files = ReconstructionFolder.of(Experiment(tmp_path, tmp_path / "asr", track))
        assert files.path == tmp_path / f"reconstruct{track}"
        found = all_paths(files)
        assert len(set(found)) == len(found) > 15
        assert all(path.is_relative_to(files.path) for path in found)


def test_no_other_module_spells_a_path(tmp_path):
    paths = [path.relative_to(tmp_path) for path in all_paths(ReconstructionFolder(tmp_path))]
    names = {path.name for path in paths if path.suffix}
    names |= {f"/{part}" for path in paths for part in path.parts[:-1]}
    assert {"layer.json", "/embeddings", "/controls"} < names
    spelt = {
        (path.name, name)
        for path in RECIPE.glob("reconstruction/*.py")
        if path.name != "places.py"
        for name in spelt_in(path)
        if name in names
    }
    assert not spelt


def test_a_layer_that_is_being_written_is_not_listed(tmp_path):
    files = ReconstructionFolder(tmp_path)
    done, half = (files.layer("net", "pool1", name) for name in ("reccnn", ".reccnn.0123.part"))
    for place in (done, half):
        place.mkdir(parents=True)
        LayerFolder(place).record.touch()
    assert files.layers() == [done]
