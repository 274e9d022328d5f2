"""Every file below exp_folder/reconstruct{track}: the one place that knows where the layers lie."""

from dataclasses import dataclass
from pathlib import Path

from intelligibility.experiment import Experiment, Place, Places


@dataclass(frozen=True)
class LayerFolder:
    """The files of one layer, or of the controls, whose speech passed through no layer."""

    path: Path

    record = Place("path", "layer.json")  # how a layer was inverted, and the losses
    controls_record = Place("path", "controls.json")  # the same of the controls; mean spectra
    signals = Place("path", "signals.json")  # what there is to hear, with the losses
    heard = Places("path", "{judge}heard.json")  # what a judge heard, signal by signal
    inverter = Place("path", "inverter.json")  # the inverter's shape
    weights = Place("path", "inverter.pt")  # its tensors
    training = Place("path", "training")  # what it learns from; removed once it has
    # One half of a training pair: the embedding ("layer") or the target ("mel").
    training_array = Places("training", "{condition}-{ear}-{what}.npy")
    embedding = Places("path", "embeddings/{condition}/{ear}.npy")  # of a scored signal
    wav = Places("path", "{kind}/{condition}/{ear}.wav")  # reconstruction, a floor or a control


@dataclass(frozen=True)
class ReconstructionFolder:
    """The networks, the layers and their table."""

    path: Path
    # Begins the names of what another judge than the usual one heard, and of its table: a folder
    # with a slash. "" for the usual one.
    judge: str = ""

    table = Place("path", "{judge}results.csv")  # every finished layer, as numbers
    results = Place("path", "{judge}results.json")  # the same with networks, trends, provenance
    summary = Place("path", "{judge}results.md")  # the same to be read
    index = Place("path", "{judge}index.html")  # every layer of every network, to be heard
    # Of one network and inverter: players, spectrograms, lost words.
    page = Places("path", "{judge}pages/{name}.html")
    figure = Places("path", "{judge}figures/{name}.png")
    # Of layers that are not inverted yet, by what determines them; removed afterwards.
    embedded = Places("path", "{source}/.embedded/{made_by}")
    # A classifier that is trained here, such as vggish-talker: its weights, and the record of its
    # training and accuracy.
    network = Places("path", "{source}/network.pt")
    network_record = Places("path", "{source}/network.json")
    controls = Places("path", "controls/{mel}")  # for one kind of spectrogram
    layer = Places("path", "{source}/{layer}/{inverter}")  # one layer of a network, one inverter

    @classmethod
    def of(cls, experiment: Experiment, judge: str = "") -> "ReconstructionFolder":
        """Return that of an experiment; each recogniser from the hub has its own.

        `judge` is the name of another judge than the usual one.
        """
        folder = experiment.results_folder / f"reconstruct{experiment.track}"
        return cls(folder, judge and f"judges/{judge}/")

    def layers(self) -> list[Path]:
        """List the folders of the finished layers; one that is being written is hidden."""
        found = self.path.glob(f"*/*/*/{LayerFolder(Path()).record}")
        return sorted(one.parent for one in found if not one.parent.name.startswith("."))
