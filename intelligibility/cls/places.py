"""Every file of the noisy LibriSpeech: what prepare_cls.py writes and train_asr.py reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intelligibility.experiment import Place, Places
from intelligibility.runs import RecipeError


@dataclass(frozen=True)
class ClsFolder:
    """Where the mixtures are kept."""

    path: Path  # `$data_root` in the tables

    flac = Places("path", "{split}/{speaker}/{name}.flac")  # a mixture
    table = Places("path", "cls_{split}.csv")  # "train" or "dev"
    journal = Place("path", "mixed.jsonl")  # which mixtures are done, and from what
    record = Place("path", "mixed.json")  # how the mixtures were made, and how many

    @classmethod
    def below(cls, exp_folder: Path) -> "ClsFolder":
        """Return the place in an experiment's folder; tracks and corpora share it."""
        return cls(exp_folder / "cls_data")

    def settings(self) -> dict[str, Any]:
        """Return what transformer_cpc1.yaml has to be told to train on the mixtures."""
        train, dev = str(self.table("train")), str(self.table("dev"))
        if not Path(train).is_file():
            raise RecipeError(f"{train}: no such table; run prepare_cls.py first")
        folder = {"data_folder": str(self.path)}
        return folder | {"train_csv": train, "valid_csv": dev, "test_csv": [dev]}
