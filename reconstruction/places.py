"""Every file below exp_folder/reconstruct: the one place that knows where the layers lie."""

from pathlib import Path

from intelligibility.experiment import Experiment


class LayerFolder:
    """The files of one layer, or of the controls, whose speech passed through no layer."""

    def __init__(self, path: str | Path):
        self.path = path = Path(path)
        self.record = path / "layer.json"  # how a layer was inverted, and the losses
        self.controls_record = path / "controls.json"  # the same of the controls; mean spectra
        self.heard = path / "heard.json"  # what the judge heard, signal by signal
        self.inverter = path / "inverter.json"  # the inverter's shape
        self.weights = path / "inverter.pt"  # its tensors
        self.training = path / "training"  # what it learns from; removed once it has

    def training_array(self, condition: str, ear: str, what: str) -> Path:
        """Return one half of a training pair: the embedding ("layer") or the target ("mel")."""
        return self.training / f"{condition}-{ear}-{what}.npy"

    def embedding(self, condition: str, ear: str) -> Path:
        """Return the layer's embedding of a scored signal."""
        return self.path / "embeddings" / condition / f"{ear}.npy"

    def wav(self, kind: str, condition: str, ear: str) -> Path:
        """Return a wav: a reconstruction ("wav"), that of a floor, or one of the controls."""
        return self.path / kind / condition / f"{ear}.wav"


class ReconstructionFolder:
    """The networks, the layers and their table."""

    def __init__(self, path: Path):
        self.path = path
        self.table = path / "results.csv"  # every finished layer, as numbers
        self.results = path / "results.json"  # the same with networks, trends and provenance
        self.summary = path / "results.md"  # the same to be read
        self.page = path / "reconstruction.html"  # players, spectrograms, lost words

    @classmethod
    def of(cls, experiment: Experiment) -> "ReconstructionFolder":
        """Return that of an experiment; each recogniser from the hub has its own."""
        return cls(experiment.results_folder / f"reconstruct{experiment.track}")

    def network(self, source: str) -> Path:
        """Return the weights of a classifier that is trained here, such as vggish-talker."""
        return self.path / source / "network.pt"

    def network_record(self, source: str) -> Path:
        """Return the record of a classifier's training and accuracy."""
        return self.path / source / "network.json"

    def controls(self, mel: str) -> Path:
        """Return the folder of the controls for one kind of spectrogram."""
        return self.path / "controls" / mel

    def layer(self, source: str, layer: str, inverter: str) -> Path:
        """Return the folder of one layer of a network with one inverter."""
        return self.path / source / layer / inverter

    def layers(self) -> list[Path]:
        """List the folders of the finished layers; one that is being written is hidden."""
        found = self.path.glob(f"*/*/*/{LayerFolder('.').record}")
        return sorted(one.parent for one in found if not one.parent.name.startswith("."))

    def figure(self, name: str) -> Path:
        """Return a figure."""
        return self.path / "figures" / f"{name}.png"
