"""The types and ranges of the keys of config.yaml and score.yaml, which OmegaConf checks.

The values stand in the YAML files, and so does what each key means. A key that takes any number is
`int | float`, so that a value from which results are made is kept as it was given.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from intelligibility.runs import RecipeError


@dataclass
class MSBGSettings:
    """The settings of the hearing-loss simulation; `msbg.Ear` checks their ranges."""

    src_pos: str = MISSING
    sample_rate: int = MISSING
    equiv_0db_spl: int | float = MISSING
    ahr: int | float = MISSING


@dataclass
class ClsSettings:
    """What prepare_cls.py mixes; it checks the values."""

    interferers: str = MISSING
    snr: Any = None


@dataclass
class Settings:
    """The keys of config.yaml."""

    corpus: str = MISSING
    path: dict[str, str | None] = MISSING  # each corpus adds its own
    cpc1_track: str = MISSING
    seed: int = MISSING

    only: Any = None  # a name, or a list of them
    check_only: bool = MISSING
    skip_bad: bool = MISSING
    dev_percent: int | float = MISSING
    test_percent: int | float = MISSING
    cls: ClsSettings = field(default_factory=ClsSettings)
    hearing_loss: str = MISSING
    MSBGEar: MSBGSettings = field(default_factory=MSBGSettings)

    n_jobs: int = MISSING
    shard: int = MISSING
    n_shards: int = MISSING
    device: str = MISSING

    run: str | None = None
    data: str = MISSING
    asr_config: str = MISSING
    asr_overrides: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    pretrained_revision: str | None = None
    from_scratch: bool = MISSING
    run_opts: dict[str, Any] = field(default_factory=dict)
    recogniser: str | None = None
    recogniser_revision: str | None = None
    dec_mode: str = MISSING
    window: str = MISSING
    decoder_states: str = MISSING

    layers: Any = None  # all, or for reconstruct.py a list
    dtw: str = MISSING
    baselines: Any = MISSING  # baselines.py says which there are
    calibration: str | None = None
    compare: str | None = None
    seeds: Any = None  # a list; evaluate.py says what is wrong with another
    bundle: str | None = None
    allow_leak: bool = MISSING

    def __post_init__(self) -> None:
        """Refuse values that no stage can use."""
        require(self.seed >= 0, "seed", self.seed, "a whole number, 0 or more")
        require(self.n_shards >= 1, "n_shards", self.n_shards, "a whole number, 1 or more")
        expected = f"0 to n_shards - 1, with n_shards={self.n_shards}"
        require(0 <= self.shard < self.n_shards, "shard", self.shard, expected)
        expected = "a whole number of processes, or -1 for one per core"
        require(self.n_jobs != 0, "n_jobs", self.n_jobs, expected)
        expected = "a share of the scenes, 0 to below 1"
        require(0 <= self.dev_percent < 1, "dev_percent", self.dev_percent, expected)
        require(0 <= self.test_percent < 1, "test_percent", self.test_percent, expected)


@dataclass
class ScoreSettings(Settings):
    """The keys of config.yaml and of score.yaml."""

    model: str | None = None
    model_revision: str | None = None
    processed: str | None = None
    reference: str | None = None
    audiogram: str | None = None
    listener: str | None = None
    text: str | None = None
    table: str | None = None
    output: str | None = None
    align: bool = MISSING
    start: int | float | None = None
    full_scale_db_spl: int | float | None = None
    speech_level: int | float | None = None
    ear: str = MISSING
    by: str | None = None
    report: bool = MISSING
    report_rows: int = MISSING

    def __post_init__(self) -> None:
        """Refuse values that cannot be used; `Conditions` says how those of a recording may be."""
        super().__post_init__()
        require(self.report_rows >= 0, "report_rows", self.report_rows, "a whole number of rows")


def require(holds: bool, key: str, value: Any, expected: str) -> None:
    """Raise a RecipeError that names a key, its value and what is expected of it, or do nothing."""
    if not holds:
        raise RecipeError(f"{key}={value}: expected {expected}")
