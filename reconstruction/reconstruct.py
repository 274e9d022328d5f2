"""Speech back from each layer of a network: what is left of the words?

    python reconstruction/reconstruct.py path.root=/data/cpc1         # the recogniser's own layers
    python reconstruction/reconstruct.py network=vggish task=talker   # the published experiment
    python reconstruction/reconstruct.py network=all task=all         # every network, every task
    python reconstruction/reconstruct.py layers=[cnn.0,encoder.2] inverter=recgan

Reads   exp_folder/{corpus}_asr_data{track}/{left,right}_{train,test}_{msbg,ref}.csv and their wavs
        asr_folder/save/CKPT+*, tokenizer.ckpt       the recogniser: network and judge
        scenes.CPC1_{train,test}.json of the release, for task=talker, interferer and snr
Writes  exp_folder/reconstruct{track}/
            <network>-<task>/network.pt, .json       the classifier and its accuracy
            <network>-<task>/<layer>/<inverter>/     inverter, embeddings, wavs, what was heard
            controls/<mel>/                          original, copy synthesis, band mean
            results.{csv,json,md}                    the table
            index.html                               one sentence through every layer
            pages/<network>-<task>-<inverter>.html   players, spectrograms, lost words
            figures/                                 skill and WER by depth; spectrograms
            judges/<name>/                           the same by another judge, with judge=

A layer's folder is whole or absent. A run that was stopped goes on with the next layer; what was
made from other signals, with other settings or by another network is made again. Another judge
hears what is there.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # Python puts this folder first, where the recipe's is needed
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import hydra
import torch
from joblib import effective_n_jobs
from omegaconf import DictConfig

from intelligibility.command_line import provenance, reports_errors, resolved
from intelligibility.ears import ASR_RATE
from intelligibility.experiment import Experiment
from intelligibility.parallel import in_processes
from intelligibility.runs import (
    RecipeError,
    lacking_room,
    pick_device,
    progress,
    shared_use,
    sole_run,
)
from reconstruction.classifiers import (
    BATCH,
    LEARNING_RATE,
    ClassifierJob,
    choose_tasks,
    label_ears,
    make_classifier,
)
from reconstruction.configured import (
    NETWORKS,
    NetworkChoice,
    ReconstructionSettings,
    check_judge,
    controls_made_by,
    inverter_name,
    judge_made_by,
    judge_name,
    layer_made_by,
    layer_settings,
    load_network,
    mel_of,
    new_model,
)
from reconstruction.fit import check_enough
from reconstruction.jobs import (
    EMBEDDING_BYTES,
    ControlsJob,
    EmbeddingJob,
    HearingJob,
    LayerJob,
    embed_signals,
    hear,
    invert_layer,
    is_done,
    make_controls,
    read_heard,
)
from reconstruction.networks import Layer, PatchNetwork, choose_layers, load_weights
from reconstruction.places import ReconstructionFolder
from reconstruction.results import write_results
from reconstruction.utterances import (
    CONDITIONS,
    Selection,
    check_disjoint,
    choose_scored,
    choose_training,
    digest_of,
    hash_of,
    median_level,
    read_ears,
)

logger = logging.getLogger(__name__)

READS = (
    *("network", "task", "layers", "weights", "inverter", "target", "vocoder", "judge"),
    *("reconstruct", "n_jobs", "device", "asr_config", "asr_overrides", "decoder_states"),
    *("recogniser", "recogniser_revision", "dec_mode", "window", "hearing_loss"),
)
LEVEL_EARS = 200  # references whose median level the recogniser hears all signals at


@hydra.main(config_path="..", config_name="config", version_base="1.3")
@reports_errors(READS, own="reconstruction/config.yaml", settings=ReconstructionSettings)
def run(cfg: DictConfig) -> None:
    """Invert every layer that is asked for, and write the table, the figures and the page."""
    experiment = Experiment.from_config(cfg)
    files = ReconstructionFolder.of(experiment, judge_name(cfg))
    torch.set_num_threads(1)
    with (
        sole_run(experiment.results_folder, files.path.name),
        shared_use(experiment.data_folder, "prepare_data"),  # the wavs must not change meanwhile,
        shared_use(experiment.asr_folder, "train_asr"),  # nor the checkpoints
    ):
        selection = choose_signals(cfg, experiment)
        networks = choose_networks(cfg, files, selection)
        layers = {choice: wanted_layers(cfg, choice, selection.level) for choice in networks}
        judge = judge_made_by(cfg, selection.level)
        controls = judge_controls(cfg, files, selection, networks, judge)
        train_classifiers(cfg, files, selection, networks)
        for choice, chosen in layers.items():
            inverted = invert_layers(cfg, files, selection, choice, chosen, controls)
            have_heard(cfg, files, selection.level, inverted, judge)
        write_results(files, selection, judge, provenance(cfg))
    logger.info("Wrote %s", files.index)


def choose_signals(cfg: DictConfig, experiment: Experiment) -> Selection:
    """Choose the signals to learn from and to score; no scene is in both."""
    every = {split: read_ears(experiment, split) for split in ("train", "test")}
    labelled = {split: label_ears(ears, every["train"]) for split, ears in every.items()}
    training = choose_training(labelled["train"], cfg.reconstruct.n_train, cfg.seed)
    check_enough(len(CONDITIONS) * len(training))
    scored = choose_scored(labelled["test"], cfg.reconstruct.n_scored, cfg.seed)
    check_disjoint(labelled["train"], labelled["test"])
    level = median_level([ear.wavs["ref"] for ear in training[:LEVEL_EARS]])
    n_signals = [len(CONDITIONS) * len(part) for part in (training, scored)]
    logger.info("%d signals to learn from, %d to score", *n_signals)
    logger.info("The recogniser hears them at %.1f dB re full scale", level)
    return Selection(training, scored, labelled["train"], labelled["test"], level)


def choose_networks(
    cfg: DictConfig, files: ReconstructionFolder, selection: Selection
) -> list[NetworkChoice]:
    """List the networks to invert, and check what can be known of them before any work."""
    if cfg.weights is not None:
        load_weights(cfg.weights, new_model("vggish", cfg.reconstruct.divisor))  # a check
        return [NetworkChoice("vggish", weights=Path(cfg.weights).absolute())]
    wanted = NETWORKS if cfg.network == "all" else (cfg.network,)
    patches = [network for network in wanted if network != "recogniser"]
    tasks = choose_tasks(cfg.task, selection.all_training) if patches else []
    networks = [NetworkChoice("recogniser")] if "recogniser" in wanted else []
    for choice in (NetworkChoice(network, task) for task in tasks for network in patches):
        networks.append(replace(choice, weights=files.network(choice.name)))
    return networks


def train_classifiers(
    cfg: DictConfig,
    files: ReconstructionFolder,
    selection: Selection,
    networks: Iterable[NetworkChoice],
) -> None:
    """Train the classifiers that are not there yet, several at a time."""
    sizes, held_out = cfg.reconstruct, selection.all_scored
    # Twice as many as an inverter has: for most tasks a classifier hears one condition only.
    training = choose_training(selection.all_training, 2 * sizes.n_train, cfg.seed)
    settings = {"steps": sizes.classifier_steps, "seed": cfg.seed}
    made_by = {
        "settings": settings | {"batch": BATCH, "learning_rate": LEARNING_RATE},
        "divisor": sizes.divisor,
        "training": digest_of(training),
        "held_out": digest_of(held_out),
    }
    jobs = [
        ClassifierJob(
            record=files.network_record(choice.name),
            made_by=made_by,
            weights=files.network(choice.name),
            choice=choice,
            training=training,
            held_out=held_out,
            divisor=sizes.divisor,
            device=cfg.device,
            **settings,
        )
        for choice in networks
        if choice.task
    ]
    missing = missing_of(jobs, "classifiers")
    for name, scores in in_workers(cfg, make_classifier, missing, "classifiers"):
        found = name, scores["accuracy"], scores["chance"]
        logger.info("%s: %.0f %% right on held-out scenes, chance %.0f %%", *found)


def wanted_layers(cfg: DictConfig, choice: NetworkChoice, level: float) -> list[Layer]:
    """Return the layers of a network that are asked for."""
    device = torch.device("cpu")
    if choice.network == "recogniser":
        network = load_network(choice, cfg, level, device)
    else:  # may not be trained yet
        network = PatchNetwork(new_model(choice.network, cfg.reconstruct.divisor), device)
    names = [cfg.layers] if isinstance(cfg.layers, str) else cfg.layers
    return choose_layers(network.layers, None if names == ["all"] else names)


def judge_controls(
    cfg: DictConfig,
    files: ReconstructionFolder,
    selection: Selection,
    networks: Iterable[NetworkChoice],
    judge: dict[str, Any],
) -> dict[str, ControlsJob]:
    """Make original, copy and band mean, by the preset of their spectrogram, and have them judged.

    A judge that does not understand the originals is refused.
    """
    jobs = {
        mel: ControlsJob(
            folder=files.controls(mel),
            made_by=controls_made_by(cfg, selection, mel),
            training=selection.training,
            scored=selection.scored,
            settings=layer_settings(cfg, mel),
            config=resolved(cfg),
            level=selection.level,
        )
        for mel in sorted({mel_of(cfg, choice) for choice in networks})
    }
    missing = missing_of(jobs.values(), "sets of controls")
    list(in_workers(cfg, make_controls, missing, "original, copy, band mean"))
    have_heard(cfg, files, selection.level, [job.folder for job in jobs.values()], judge)
    for job in jobs.values():
        check_judge(read_heard(job.folder, files.judge)["original"], cfg.judge)
    return jobs


def have_heard(
    cfg: DictConfig,
    files: ReconstructionFolder,
    level: float,
    folders: list[Path],
    judge: dict[str, Any],
) -> None:
    """Have the judge hear the folders of controls or layers that it has not heard yet."""
    config = resolved(cfg)
    jobs = [HearingJob(folder, files.judge, judge, config, level) for folder in folders]
    list(in_workers(cfg, hear, missing_of(jobs, "folders judged"), "folders judged"))


def invert_layers(
    cfg: DictConfig,
    files: ReconstructionFolder,
    selection: Selection,
    choice: NetworkChoice,
    layers: list[Layer],
    controls: dict[str, ControlsJob],
) -> list[Path]:
    """Invert the layers of a network that are not there yet, several at a time.

    The network hears each signal once for all its layers. Returns the folders of all layers.
    """
    made_by = {layer: layer_made_by(cfg, choice, layer, selection) for layer in layers}
    network = next(iter(made_by.values()))["network"]
    store = files.embedded(choice.name, hash_of({"network": network} | selection.made_by))
    jobs = [
        LayerJob(
            folder=files.layer(choice.name, layer.name, inverter_name(cfg)),
            made_by=made_by[layer],
            layer=layer,
            controls=controls[mel_of(cfg, choice)],
            embedded=store / layer.name,
        )
        # The deepest first: their inverters are the largest, and would keep others waiting.
        for layer in reversed(layers)
    ]
    missing = missing_of(jobs, f"layers of {choice.name}")
    for left in store.parent.glob("*"):  # of runs that were stopped, from other signals
        if left != store:
            shutil.rmtree(left)
    if missing:
        check_room(files.path, missing, selection)
        embed_layers(cfg, selection, choice, missing)
        list(in_workers(cfg, invert_layer, missing, "layers"))
        shutil.rmtree(store.parent)
    return [job.folder for job in jobs]


def embed_layers(
    cfg: DictConfig, selection: Selection, choice: NetworkChoice, missing: list[LayerJob]
) -> None:
    """Embed all signals at the missing layers of one network, in several processes."""
    folders = {job.layer.name: job.embedded for job in missing}
    ears = [*selection.training, *selection.scored]
    n_parts = n_workers(cfg, len(ears))
    parts = [
        EmbeddingJob(folders, choice, ears[part::n_parts], missing[0].controls)
        for part in range(n_parts)
    ]
    list(in_workers(cfg, embed_signals, parts, "parts of the signals embedded"))


def check_room(folder: Path, jobs: list[LayerJob], selection: Selection) -> None:
    """Refuse layers whose training embeddings do not fit beside each other on the disk."""
    sizes = [wav.stat().st_size for ear in selection.training for wav in ear.wavs.values()]
    seconds = sum(sizes) / (4 * ASR_RATE)  # float32
    needed = seconds * sum(job.layer.floats_per_s for job in jobs) * EMBEDDING_BYTES
    what = f"the training embeddings of {len(jobs)} layers"
    if lack := lacking_room(folder, needed, what):
        raise RecipeError(
            f"{lack}; set a smaller reconstruct.n_train, or name fewer layers= at a time"
        )


def missing_of(jobs: Iterable[Any], what: str) -> list[Any]:
    """Return the jobs whose records are not there, or were made by other things."""
    jobs = list(jobs)
    missing = [job for job in jobs if not is_done(job.record, job.made_by)]
    logger.info("%d of %d %s are done already", len(jobs) - len(missing), len(jobs), what)
    return missing


def in_workers(
    cfg: DictConfig, make: Callable[[Any], Any], jobs: list[Any], what: str
) -> Iterator[Any]:
    """Do jobs, several at a time, with a bar of their progress; give what they return."""
    done = in_processes(make, [(job,) for job in jobs], n_workers(cfg, len(jobs)))
    yield from progress(done, what, len(jobs), unit="")


def n_workers(cfg: DictConfig, n_jobs: int) -> int:
    """Return the processes to use: one where there is a GPU."""
    on_cpu = pick_device(cfg.device).type == "cpu"
    return max(1, min(effective_n_jobs(cfg.n_jobs), n_jobs)) if on_cpu else 1


if __name__ == "__main__":
    run()
