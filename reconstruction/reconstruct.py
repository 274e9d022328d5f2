"""Speech back from each layer of a network: what is left of the words?

    python reconstruction/reconstruct.py path.root=/data/cpc1         # the recogniser's own layers
    python reconstruction/reconstruct.py network=vggish task=talker   # the published experiment
    python reconstruction/reconstruct.py network=all task=all         # every network, every task
    python reconstruction/reconstruct.py layers=[cnn.0,encoder.2] inverter=recgan

Reads   exp_folder/cpc1_asr_data{track}/{left,right}_{train,test}_{msbg,ref}.csv and their wavs
        asr_folder/save/CKPT+*, tokenizer.ckpt       the recogniser: network and judge
        scenes.CPC1_{train,test}.json of the release, for task=talker, interferer and snr
Writes  exp_folder/reconstruct{track}/
            <network>-<task>/network.pt, .json       the classifier and its accuracy
            <network>-<task>/<layer>/<inverter>/     inverter, embeddings, wavs, what was heard
            controls/<mel>/                          original, copy synthesis, band mean
            results.{csv,json,md}                    the table
            reconstruction.html                      players, spectrograms, lost words
            figures/                                 skill and WER by depth; spectrograms

A layer's folder is whole or absent. A run that was stopped goes on with the next layer; what was
made from other signals, with other settings or by another network is made again.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # Python puts this folder first, where the recipe's is needed
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Iterable
from typing import Any

import hydra
import torch
from joblib import effective_n_jobs
from omegaconf import DictConfig, OmegaConf

from intelligibility.command_line import provenance, reports_errors, resolved
from intelligibility.corpora.presentation import Presentation, read_presentations
from intelligibility.experiment import (
    EARS,
    KINDS,
    Experiment,
    read_table,
)
from intelligibility.journal import file_stamp
from intelligibility.parallel import in_processes
from intelligibility.runs import (
    RecipeError,
    atomic_path,
    listed,
    pick_device,
    progress,
    read_json,
    sha256_of,
    shared_use,
    sole_run,
    write_json,
)
from reconstruction.classifiers import (
    TASKS,
    ClassifierSettings,
    choose_tasks,
    label_ears,
    train_classifier,
)
from reconstruction.fit import LEAST_PAIRS, FitSettings
from reconstruction.judge import check_judge
from reconstruction.laboratory import (
    Source,
    describe_judge,
    describe_own,
    judge_of_process,
    load_network,
    network_of_process,
    new_model,
)
from reconstruction.mel import RATE, vocoder_file
from reconstruction.networks import (
    Layer,
    PatchNetwork,
    choose_layers,
    load_weights,
)
from reconstruction.one_layer import (
    EMBEDDING_BYTES,
    LayerSettings,
    do_layer,
    is_done,
    make_controls,
    read_controls,
)
from reconstruction.places import LayerFolder, ReconstructionFolder
from reconstruction.results import write_results
from reconstruction.utterances import (
    Ear,
    check_disjoint,
    choose_scored,
    choose_training,
    median_level,
    scene_labels,
)

logger = logging.getLogger(__name__)

READS = (
    *("network", "task", "layers", "weights", "inverter", "target", "vocoder", "judge"),
    *("reconstruct", "n_jobs", "device", "asr_config", "asr_overrides", "decoder_states"),
    *("recogniser", "recogniser_revision", "dec_mode", "hearing_loss"),
)
NETWORKS = ("recogniser", "vggish", "smallenc")
INVERTERS = ("reccnn", "recgan")
TARGETS = ("input", "ref")
# What a setting is that the user leaves open. Published: Adam at 1e-4 throughout, batches of 256
# patches; 300 epochs of 32 x 400 clips are the 15000 steps of the configuration.
PRESETS = {
    "corpus": {"batch": 32, "learning_rate": 1e-3},
    "paper": {"batch": 256, "learning_rate": 1e-4},
}
LEVEL_EARS = 200  # references whose median level the recogniser hears all signals at


@dataclasses.dataclass(frozen=True)
class Material:
    """The signals of one run.

    Attributes
    ----------
    training, scored : list of Ear
        What inverters learn from, and what is scored.
    all_training, all_scored : list of Ear
        What they were chosen from: the classifiers learn from these.
    level : float
        dB re full scale of the clean training speech, at which the recogniser hears all.
    """

    training: list[Ear]
    scored: list[Ear]
    all_training: list[Ear]
    all_scored: list[Ear]
    level: float


@hydra.main(config_path="..", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Invert every layer that is asked for, and write the table, the figures and the page."""
    check_options(cfg)
    experiment = Experiment.from_config(cfg)
    files = ReconstructionFolder.of(experiment)
    torch.set_num_threads(1)
    with (
        sole_run(experiment.results_folder, files.path.name),
        shared_use(experiment.data_folder, "prepare_data"),  # the wavs must not change meanwhile,
        shared_use(experiment.asr_folder, "train_asr"),  # nor the checkpoints
    ):
        material = choose_material(cfg, experiment)
        sources = list_sources(cfg, files, material)
        chosen = {source: layers_of(cfg, source, material.level) for source in sources}
        prepare_controls(cfg, files, material, chosen)
        train_classifiers(cfg, files, sources, material)
        invert_layers(cfg, files, material, chosen)
        write_results(
            files,
            common_made_by(cfg, material),
            cfg.seed,
            {ear.name: ear for ear in material.scored},
            provenance(cfg),
        )
    logger.info("Wrote %s", files.page)


def check_options(cfg: DictConfig) -> None:
    """Refuse what the keys of this script cannot be, before any work."""
    for key, known in (
        ("network", (*NETWORKS, "all")),
        ("inverter", INVERTERS),
        ("target", TARGETS),
    ):
        if cfg[key] not in known:
            raise RecipeError(f"{key}={cfg[key]}: expected {', '.join(known)}")
    if cfg.reconstruct.preset not in PRESETS:
        expected = " or ".join(PRESETS)
        raise RecipeError(f"reconstruct.preset={cfg.reconstruct.preset}: expected {expected}")
    own = sizes_of(cfg)
    for key in ("steps", "batch", "width", "n_scored", "n_train", "divisor", "ladder_divisor"):
        if not isinstance(own[key], int) or own[key] < 1:
            raise RecipeError(f"reconstruct.{key}={own[key]}: expected a whole number from 1")
    if cfg.weights is not None and cfg.network != "vggish":
        raise RecipeError(
            f"weights={cfg.weights} with network={cfg.network}: only network=vggish takes weights"
        )
    if cfg.task not in (*TASKS, "all"):
        raise RecipeError(f"task={cfg.task}: expected {', '.join(TASKS)} or all")
    if cfg.vocoder != "griffinlim":
        vocoder_file(cfg.vocoder)


def choose_material(cfg: DictConfig, experiment: Experiment) -> Material:
    """Choose the signals to learn from and to score; no scene is in both."""
    every = {split: read_ears(experiment, split) for split in ("train", "test")}
    labelled = {split: label_ears(ears, every["train"]) for split, ears in every.items()}
    training = choose_training(labelled["train"], cfg.reconstruct.n_train, cfg.seed)
    if len(KINDS) * len(training) < LEAST_PAIRS:
        raise RecipeError(
            f"{len(KINDS) * len(training)} signals to learn from, expected {LEAST_PAIRS} or more; "
            "prepare more training signals, or raise reconstruct.n_train"
        )
    scored = choose_scored(labelled["test"], cfg.reconstruct.n_scored, cfg.seed)
    check_disjoint(labelled["train"], labelled["test"])
    level = median_level([ear.wavs["ref"] for ear in training[:LEVEL_EARS]])
    logger.info(
        "%d signals to learn from, %d to score; the recogniser hears them at %.1f dB",
        len(KINDS) * len(training),
        len(KINDS) * len(scored),
        level,
    )
    return Material(training, scored, labelled["train"], labelled["test"], level)


def read_ears(experiment: Experiment, split: str) -> list[Ear]:
    """Read the ear signals of "train" or "test" from the tables, with what is known of them."""
    used = read_presentations(experiment.presentations).get(split, [])
    presentations = {one.name: one for one in used}
    scenes, ears = read_scenes(used, split), []
    for side in EARS:
        tables = {
            kind: {row["ID"]: row for row in read_table(experiment.table(side, split, kind))}
            for kind in KINDS
        }
        for name, row in tables["msbg"].items():
            if name not in presentations or name not in tables["ref"]:
                raise RecipeError(
                    f"{name} is not in {experiment.presentations.name} or in the table of "
                    "references; run prepare_data.py again, with the same config"
                )
            one = presentations[name]
            ears.append(
                Ear(
                    name=f"{side}_{name}",
                    scene=one.scene,
                    listener=one.listener.id,
                    system=one.system,
                    severity=getattr(one.listener, f"audiogram_{side}").severity,
                    prompt=row["wrd"],
                    wavs={kind: tables[kind][name]["wav"] for kind in KINDS},
                    labels=scene_labels(scenes.get(one.scene, {})),
                )
            )
    missing = [f"{wav}" for ear in ears for wav in ear.wavs.values() if not wav.is_file()]
    if missing:
        raise RecipeError(
            f"{len(missing)} wavs are missing: {listed(missing)}; run prepare_data.py again"
        )
    return ears


def read_scenes(presentations: Iterable[Presentation], split: str) -> dict[str, dict[str, Any]]:
    """Read the list of scenes of the release that the presentations are from, where it has one.

    No later stage needs the release, and this one only for `task`: nothing else tells the talkers.
    """
    archives = {one.reference.parents[2] for one in presentations}
    scenes = {}
    for path in (folder / "metadata" / f"scenes.CPC1_{split}.json" for folder in sorted(archives)):
        if path.is_file():
            entries = [entry for entry in read_json(path, list) if isinstance(entry, dict)]
            scenes |= {entry.get("scene"): entry for entry in entries}
    return scenes


def list_sources(cfg: DictConfig, files: ReconstructionFolder, material: Material) -> list[Source]:
    """List the networks to invert, and check what can be known of them before any work."""
    networks = NETWORKS if cfg.network == "all" else (cfg.network,)
    sources = [Source("recogniser")] if "recogniser" in networks else []
    if cfg.weights is not None:
        load_weights(cfg.weights, new_model("vggish", cfg.reconstruct.divisor))  # a check
        return [Source("vggish", weights=Path(cfg.weights).absolute())]
    patches = [network for network in networks if network != "recogniser"]
    for task in choose_tasks(cfg.task, material.all_training) if patches else []:
        for source in (Source(network, task) for network in patches):
            sources.append(dataclasses.replace(source, weights=files.network(source.name)))
    return sources


def layers_of(cfg: DictConfig, source: Source, level: float) -> list[Layer]:
    """Return the layers of a network that are asked for."""
    device = torch.device("cpu")
    if source.network == "recogniser":
        network = load_network(source, cfg, level, device)
    else:  # may not be trained yet
        network = PatchNetwork(new_model(source.network, cfg.reconstruct.divisor), device)
    names = [cfg.layers] if isinstance(cfg.layers, str) else cfg.layers
    return choose_layers(network.layers, None if names == ["all"] else names)


def train_classifiers(
    cfg: DictConfig, files: ReconstructionFolder, sources: Iterable[Source], material: Material
) -> None:
    """Train the classifiers that are not there yet, several at a time."""
    settings = ClassifierSettings(cfg.reconstruct.classifier_steps, seed=cfg.seed)
    made_by = plain(
        {
            "settings": dataclasses.asdict(settings),
            "divisor": cfg.reconstruct.divisor,
            "training": stamp_of(classifier_ears(material.all_training, cfg)),
            "held_out": stamp_of(material.all_scored),
        }
    )
    calls = [
        (files.network_record(source.name), source, settings, material, made_by, resolved(cfg))
        for source in sources
        if source.task and not is_done(files.network_record(source.name), made_by)
    ]
    done = in_processes(make_classifier, calls, workers(cfg, len(calls)))
    for name, scores in progress(done, "classifiers", len(calls), unit="network"):
        logger.info(
            "%s: %.0f %% right on held-out scenes, chance %.0f %%",
            name,
            scores["accuracy"],
            scores["chance"],
        )


def make_classifier(
    record: Path,
    source: Source,
    settings: ClassifierSettings,
    material: Material,
    made_by: dict[str, Any],
    config: str,
) -> tuple[str, dict[str, Any]]:
    """Train and write one classifier; the record comes last."""
    cfg = OmegaConf.create(config)
    torch.manual_seed(settings.seed)
    model = new_model(source.network, cfg.reconstruct.divisor)
    training = classifier_ears(material.all_training, cfg)
    scores = train_classifier(
        model, source.task, training, material.all_scored, settings, pick_device(cfg.device)
    )
    record.unlink(missing_ok=True)
    with atomic_path(source.weights) as part:
        torch.save(model.state_dict(), part)
    write_json(record, {"task": source.task, **scores, "made_by": made_by})
    return source.name, scores


def classifier_ears(ears: list[Ear], cfg: DictConfig) -> list[Ear]:
    """Choose what a classifier learns from: it hears one condition only for most tasks."""
    return choose_training(ears, 2 * cfg.reconstruct.n_train, cfg.seed)


def prepare_controls(
    cfg: DictConfig,
    files: ReconstructionFolder,
    material: Material,
    chosen: dict[Source, list[Layer]],
) -> None:
    """Have original, copy and band mean judged; refuse a judge that fails on the originals."""
    calls, places = [], []
    for mel in sorted({mel_of(cfg, source) for source in chosen}):
        own = {"mel": mel, "vocoder": vocoder_stamp(cfg)}
        own["griffinlim_iterations"] = cfg.reconstruct.griffinlim_iterations
        made_by = plain(common_made_by(cfg, material) | own)
        places.append(files.controls(mel))
        if not is_done(LayerFolder(places[-1]).controls_record, made_by):
            calls.append((places[-1], mel, material, made_by, resolved(cfg)))
    done = in_processes(make_controls_of, calls, workers(cfg, len(calls)))
    for _ in progress(done, "original, copy, band mean", len(calls), unit="spectrogram"):
        pass
    for place in places:
        original = [one for one in read_controls(place).original if one.condition == "ref"]
        check_judge([(one.errors, one.n_words) for one in original], cfg.judge)


def make_controls_of(
    place: Path, mel: str, material: Material, made_by: dict[str, Any], config: str
) -> None:
    """Make the controls of one spectrogram, in a process of its own or in this one."""
    torch.set_num_threads(1)
    settings = layer_settings(OmegaConf.create(config), mel)
    judge = judge_of_process(config, material.level)
    make_controls(place, material.training, material.scored, settings, judge, made_by)


def invert_layers(
    cfg: DictConfig,
    files: ReconstructionFolder,
    material: Material,
    chosen: dict[Source, list[Layer]],
) -> None:
    """Invert the layers that are not there yet, several at a time."""
    calls = []
    for source, layers in chosen.items():
        # The deepest first: their inverters are the largest, and would keep the others waiting.
        for layer in reversed(layers):
            made_by = layer_made_by(cfg, source, layer, material)
            place = files.layer(source.name, layer.name, inverter_name(cfg))
            if not is_done(LayerFolder(place).record, made_by):
                calls.append((files, source, layer, material, made_by, resolved(cfg)))
    n_jobs = workers(cfg, len(calls))
    check_room(files.path, [layer for _, _, layer, *_ in calls], material.training, n_jobs)
    n_layers = sum(map(len, chosen.values()))
    logger.info("%d of %d layers are done already", n_layers - len(calls), n_layers)
    done = in_processes(invert_layer, calls, n_jobs)
    for _ in progress(done, "layers", len(calls), unit="layer"):
        pass


def check_room(folder: Path, layers: list[Layer], training: list[Ear], n_jobs: int) -> None:
    """Refuse layers whose training embeddings do not fit beside each other on the disk."""
    sizes = [wav.stat().st_size for ear in training for wav in ear.wavs.values()]
    seconds = sum(sizes) / (4 * RATE)  # float32
    largest = sorted((layer.floats_per_s for layer in layers), reverse=True)[:n_jobs]
    needed = seconds * sum(largest) * EMBEDDING_BYTES
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise RecipeError(
            f"{folder}: {needed / 1e9:.1f} GB are needed for the training embeddings of {n_jobs} "
            f"layers at a time, {free / 1e9:.1f} GB are free; set a smaller reconstruct.n_train or "
            "n_jobs"
        )


def invert_layer(
    files: ReconstructionFolder,
    source: Source,
    layer: Layer,
    material: Material,
    made_by: dict[str, Any],
    config: str,
) -> Path:
    """Invert one layer, in a process of its own or in this one."""
    cfg = OmegaConf.create(config)
    torch.set_num_threads(1)
    network = network_of_process(config, source, material.level)
    judge = judge_of_process(config, material.level)
    mel = mel_of(cfg, source)
    place = files.layer(source.name, layer.name, inverter_name(cfg))
    controls = read_controls(files.controls(mel))
    do_layer(
        place,
        layer,
        network,
        judge,
        material.training,
        material.scored,
        controls,
        layer_settings(cfg, mel),
        made_by,
        pick_device(cfg.device),
    )
    return place


def mel_of(cfg: DictConfig, source: Source) -> str:
    """Return the preset of the spectrograms that a network's layers are inverted to."""
    if cfg.vocoder != "griffinlim":
        return "hifigan"
    return "asr" if source.network == "recogniser" else "vggish"


def inverter_name(cfg: DictConfig) -> str:
    """Return the inverter's name in folders and tables; what is not the default is in it."""
    options = {
        "enhancement": cfg.target == "ref",
        "paper": cfg.reconstruct.preset == "paper",
        "hifigan": cfg.vocoder != "griffinlim",
    }
    return "-".join([cfg.inverter, *(name for name, chosen in options.items() if chosen)])


def sizes_of(cfg: DictConfig) -> dict[str, Any]:
    """Return the sizes of the trainings: what the user gives, and the preset's for the rest."""
    given = {key: value for key, value in cfg.reconstruct.items() if value is not None}
    return PRESETS[cfg.reconstruct.preset] | given


def layer_settings(cfg: DictConfig, mel: str) -> LayerSettings:
    """Return what decides a layer's numbers beside network, judge and signals."""
    own = sizes_of(cfg)
    fit = FitSettings(
        steps=own["steps"],
        batch=own["batch"],
        learning_rate=own["learning_rate"],
        adversarial=cfg.inverter == "recgan",
        paper=own["preset"] == "paper",
        seed=cfg.seed,
    )
    return LayerSettings(
        fit=fit,
        mel=mel,
        width=own["width"],
        divisor=own["ladder_divisor"],
        target=cfg.target,
        vocoder=cfg.vocoder,
        n_iter=own["griffinlim_iterations"],
        n_floors=own["n_floors"],
        floor_steps=own["floor_steps"],
    )


def common_made_by(cfg: DictConfig, material: Material) -> dict[str, Any]:
    """Say what all layers of a table share: judge and signals."""
    return plain(
        {
            "judge": describe_judge(cfg, material.level),
            "training": stamp_of(material.training),
            "scored": stamp_of(material.scored),
        }
    )


def vocoder_stamp(cfg: DictConfig) -> str | list[int | str]:
    """Say which vocoder it is, wherever its weights lie."""
    if cfg.vocoder == "griffinlim":
        return cfg.vocoder
    return file_stamp(vocoder_file(cfg.vocoder))


def layer_made_by(
    cfg: DictConfig, source: Source, layer: Layer, material: Material
) -> dict[str, Any]:
    """Say all that decides a layer's numbers."""
    if source.weights is None:
        network = describe_own(cfg, material.level)
    else:
        network = {"weights_sha256": sha256_of([source.weights])}
    settings = layer_settings(cfg, mel_of(cfg, source))
    own = {"network": network, "layer": layer.name, "settings": dataclasses.asdict(settings)}
    return plain(common_made_by(cfg, material) | own | {"vocoder": vocoder_stamp(cfg)})


def stamp_of(ears: Iterable[Ear]) -> str:
    """Return a hash of signals: their names, labels and wavs."""
    facts = [
        (ear.name, sorted(ear.labels.items()), [file_stamp(wav) for wav in ear.wavs.values()])
        for ear in ears
    ]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def plain(content: dict[str, Any]) -> dict[str, Any]:
    """Return what json would make of it."""
    return json.loads(json.dumps(content))


def workers(cfg: DictConfig, n_calls: int) -> int:
    """Return the processes to use: one where there is a GPU."""
    on_cpu = pick_device(cfg.device).type == "cpu"
    return max(1, min(effective_n_jobs(cfg.n_jobs), n_calls)) if on_cpu else 1


if __name__ == "__main__":
    run()
