"""Stage 2: fine-tune the speech recogniser on the prepared ear signals.

    python train_asr.py pretrained=speechbrain/asr-transformer-transformerlm-librispeech

reads       exp_folder/{corpus}_asr_data{track}/binaural_{train,dev}_msbg.csv and the wavs they name
starts from asr_folder/save/CKPT+... when there is one: a SpeechBrain 0.5.x checkpoint, or this
            script's own after an interruption; else from `pretrained`; else, with
            from_scratch=true, from nothing
writes      asr_folder/save/    CKPT+... the best and the latest checkpoint, tokenizer.ckpt, and
                                model_settings.json: infer.py must be given the same
            asr_folder/         trained_on.json, scenes and prompts, before the first step
                                train_log.txt, training.json, training.png, as training goes
                                wer_{left,right}_dev_msbg.txt and wer.json at its end

The recogniser is SpeechBrain's LibriSpeech Transformer with a CTC and an attention loss: Noam/Adam
for `stage_one_epochs`, then SGD. Its settings are in transformer_cpc1.yaml; any of them can be
changed with asr_overrides.<name>=<value>, SpeechBrain's options with run_opts.<name>=<value>:

    python train_asr.py asr_overrides.batch_size=8 run_opts.precision=bf16
    torchrun --standalone --nproc_per_node=4 train_asr.py

The published way, without config.yaml, works too:

    python train_asr.py transformer_cpc1.yaml --data_folder=... --output_folder=... --pretrained=...

A run that was stopped is started again with the same command. While it runs, prepare_data.py may
not change its data. --help lists the configuration.
"""

import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import speechbrain as sb
import torch
from omegaconf import DictConfig, OmegaConf
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.checkpoints import average_checkpoints
from speechbrain.utils.distributed import get_rank, if_main_process, run_on_main
from speechbrain.utils.run_opts import RunOptions
from torch import Tensor

from intelligibility.cls.places import ClsFolder
from intelligibility.command_line import readable, reports_errors
from intelligibility.corpora.presentation import Presentation, read_presentations
from intelligibility.experiment import AsrFolder, Experiment, is_trained_here
from intelligibility.recognisers.beam_search import BeamSearch
from intelligibility.recognisers.checkpoints import epoch_of
from intelligibility.recognisers.settings import load_settings, read_settings
from intelligibility.recognisers.speechbrain import load_tokenizer, search_settings
from intelligibility.recognisers.values import pick
from intelligibility.runs import (
    RecipeError,
    atomic_path,
    pick_device,
    progress,
    read_json,
    sha256_of,
    write_json,
)
from intelligibility.training.checkpoints import WholeCheckpointer
from intelligibility.training.data import (
    Row,
    check_rows,
    in_order,
    make_dataset,
    one_row_per_wav,
    read_tables,
    train_loader_options,
)
from intelligibility.training.log import (
    add_epoch,
    epoch_in_a_line,
    record_training,
    settings_and_versions,
)
from intelligibility.training.pretrained import provide_start, provide_tokenizer
from intelligibility.training.run_options import run_options
from intelligibility.training.running import (
    keep_speechbrain_quiet,
    memory_fault_named,
    process_group,
    sole_training,
)
from intelligibility.training.settings import Batches, Start, Tables, Vocabulary

logger = logging.getLogger(__name__)

READS = (
    *("hearing_loss", "recogniser", "data", "run"),
    *("device", "asr_config", "asr_overrides", "run_opts"),
    *("pretrained", "pretrained_revision", "from_scratch"),
)
# Losses and errors of a stage by name; log-probabilities of both heads, lengths and hypotheses.
Stats = dict[str, Any]
Predictions = tuple[Tensor, Tensor, Tensor, list[list[int]] | None]


def train(
    hparams: dict[str, Any],
    run_opts: RunOptions,
    presentations: Mapping[str, Presentation] | None = None,
) -> None:
    """Train the recogniser to `number_of_epochs` and measure its word error rate on both ears.

    `hparams` are the settings and objects of transformer_cpc1.yaml, `run_opts` SpeechBrain's
    options: device, precision, compile and so on. `presentations` is what prepare_data.py recorded
    of the signals, by name, for the record of what is trained on.
    """
    with process_group(run_opts), sole_training(hparams) as stop:
        train_and_test(hparams, run_opts, presentations or {}, stop)


def train_and_test(
    hparams: dict[str, Any],
    run_opts: RunOptions,
    presentations: Mapping[str, Presentation],
    stop: threading.Event,
) -> None:
    """Check the data, provide the start, train, and measure the word error rates."""
    # The tables: one row per wav, for a reference serves many signals.
    tables, batches = pick(Tables, hparams), pick(Batches, hparams)
    train_tables, valid_tables, test_tables = (
        read_tables(tables, key) for key in ("train_csv", "valid_csv", "test_csv")
    )
    train_rows = one_row_per_wav(train_tables.values())
    valid_rows = one_row_per_wav(valid_tables.values())

    # The start: a checkpoint or none, and the tokenizer that gives its outputs their meaning.
    checkpointer = hparams["checkpointer"]()
    prompts = [row["wrd"] for row in train_rows]
    vocabulary, resumed = prepare_start(hparams, checkpointer, prompts)

    # Every wav and prompt is looked at before the first step, and what is trained on recorded.
    for rows in (train_rows, valid_rows, *test_tables.values()):
        check_rows(rows, tables.sample_rate, vocabulary)
    train_data = in_order(make_dataset(train_rows, vocabulary), batches.sorting)
    valid_data = in_order(make_dataset(valid_rows, vocabulary), "ascending")
    loader_options = train_loader_options(train_data, batches)
    known = {
        name: (one.scene, one.listener.id, one.system, one.cec)
        for name, one in presentations.items()
    }
    run_on_main(record_training, [hparams, checkpointer, train_tables, train_rows, known])

    # The training: the feature statistics first, which a start brings with it.
    brain = ASR(hparams["modules"], hparams["Adam"], hparams, run_opts, checkpointer)
    brain.stop = stop
    brain.train_sampler = loader_options.get("batch_sampler")  # SpeechBrain tells it the epoch
    logger.info("%d wavs to train on, on %s in %s", len(train_rows), brain.device, brain.precision)
    if not resumed:
        brain.fit_normaliser(train_data)
    brain.fit(
        hparams["epoch_counter"],
        train_data,
        valid_data,
        train_loader_kwargs=loader_options,
        valid_loader_kwargs=hparams["valid_dataloader_opts"],
    )

    # The word error rates of what infer.py will load: the average of the best and the latest.
    brain.test(test_tables)


def prepare_start(
    hparams: dict[str, Any], checkpointer: WholeCheckpointer, prompts: list[str]
) -> tuple[Vocabulary, bool]:
    """Leave what training starts from in the save folder.

    Returns the tokens with the recogniser's tokenizer, and whether there is a checkpoint to start
    from.
    """
    start, vocabulary = pick(Start, hparams), pick(Vocabulary, hparams)
    checkpointer.check_one_training()
    run_on_main(provide_start, [start, checkpointer])
    resumed = checkpointer.find_checkpoint() is not None
    tokenizer = checkpointer.files.tokenizer
    run_on_main(provide_tokenizer, [tokenizer, start, vocabulary, prompts, resumed])
    load_tokenizer(vocabulary.tokenizer, tokenizer, hparams["output_neurons"])
    return vocabulary, resumed


class ASR(sb.Brain):
    """The recogniser in training: forward pass, losses, the two optimisers, checkpoints."""

    stop: threading.Event | None = None  # set when the run is to stop
    optimizer: torch.optim.Optimizer
    optimizers_dict: dict[str, torch.optim.Optimizer] | None

    # The forward pass and the losses

    def compute_forward(self, batch: PaddedBatch, stage: sb.Stage) -> Predictions:
        """Return log-probabilities (batch, time, tokens) of both heads, and hypotheses if due."""
        if self.stop is not None and self.stop.is_set():
            raise KeyboardInterrupt
        batch = batch.to(self.device, non_blocking=True)
        wavs, wav_lens = batch.sig
        tokens_bos, _ = batch.tokens_bos

        feats = self.hparams.compute_features(wavs)
        feats = self.modules.normalize(feats, wav_lens, epoch=self.hparams.epoch_counter.current)
        if stage == sb.Stage.TRAIN:
            feats, _ = self.hparams.augmentation(feats, wav_lens)

        # By self.modules, not hparams: only there do gradients travel between devices.
        src = self.modules.CNN(feats)
        encoded, decoded = self.modules.Transformer(
            src, tokens_bos, wav_lens, pad_idx=self.hparams.pad_index
        )
        p_ctc = self.hparams.log_softmax(self.modules.ctc_lin(encoded))
        p_seq = self.hparams.log_softmax(self.modules.seq_lin(decoded))

        hyps = None
        if self.searches(stage):
            search = self.search_as_infer if stage == sb.Stage.TEST else self.hparams.valid_search
            hyps, *_ = search(encoded.detach(), wav_lens)
        return p_ctc, p_seq, wav_lens, hyps

    def search_as_infer(self, encoded: Tensor, wav_lens: Tensor) -> tuple[list[list[int]]]:
        """Return the tokens that infer.py finds: those of SpeechBrain's search, for less work."""
        modules = self.hparams.Transformer, self.hparams.seq_lin, self.hparams.ctc_lin
        search = BeamSearch(*modules, search_settings(vars(self.hparams)))
        found = search(encoded, (encoded.shape[1] * wav_lens).round().long())
        return ([list(one.hypotheses[0].tokens) for one in found],)

    def compute_objectives(
        self, predictions: Predictions, batch: PaddedBatch, stage: sb.Stage
    ) -> Tensor:
        """Return the paper's eq. 4: ctc_weight * CTC + (1 - ctc_weight) * label-smoothed KL."""
        p_ctc, p_seq, wav_lens, hyps = predictions
        tokens, tokens_lens = batch.tokens
        tokens_eos, tokens_eos_lens = batch.tokens_eos

        loss_ctc = self.hparams.ctc_cost(p_ctc, tokens, wav_lens, tokens_lens)
        loss_seq = self.hparams.seq_cost(p_seq, tokens_eos, length=tokens_eos_lens)
        loss = self.hparams.ctc_weight * loss_ctc + (1 - self.hparams.ctc_weight) * loss_seq
        if not torch.isfinite(loss):
            raise RecipeError(
                f"the loss is {loss.item()} in epoch {self.hparams.epoch_counter.current}, for the "
                f"batch of {', '.join(batch.id)}; look at these signals, or lower the learning rate"
            )
        if stage != sb.Stage.TRAIN:
            self.acc_metric.append(p_seq, tokens_eos, tokens_eos_lens)
        if hyps is not None:
            found = [self.hparams.tokenizer.decode_ids(hyp).split() for hyp in hyps]
            self.wer_metric.append(batch.id, found, [words.split() for words in batch.wrd])
        return loss

    def searches(self, stage: sb.Stage) -> bool:
        """Say whether words are searched for: in the test, and every few epochs in validation."""
        epoch = self.hparams.epoch_counter.current
        due = epoch % self.hparams.valid_search_interval == 0
        return stage == sb.Stage.TEST or (stage == sb.Stage.VALID and due)

    def make_dataloader(
        self,
        dataset: DynamicItemDataset,
        stage: sb.Stage,
        ckpt_prefix: str | None = "dataloader-",
        **options: Any,
    ) -> torch.utils.data.DataLoader:
        """Load into pinned memory when the device is a GPU, so that copying does not stop it."""
        options.setdefault("pin_memory", self.device_type == "cuda")
        return super().make_dataloader(dataset, stage, ckpt_prefix, **options)

    # The updates

    def fit_batch(self, batch: PaddedBatch) -> Tensor:
        """Do SpeechBrain's update, and say which batch did not fit into memory."""
        remedy = (
            f"Lower batch_size ({self.hparams.batch_size}; with dynamic_batching "
            f"max_batch_length, {self.hparams.max_batch_length} s) and raise "
            "gradient_accumulation by as much, or set run_opts.precision=bf16"
        )
        with memory_fault_named(batch, remedy):
            return super().fit_batch(batch)

    def evaluate_batch(self, batch: PaddedBatch, stage: sb.Stage) -> Tensor:
        """Do SpeechBrain's evaluation, and say which batch did not fit into memory."""
        name = "test" if stage == sb.Stage.TEST else "valid"
        beam = getattr(self.hparams, f"{name}_beam_size")
        options = f"{name}_dataloader_opts"
        size = getattr(self.hparams, options)["batch_size"]
        remedy = f"Lower {name}_beam_size ({beam}) or {options}.batch_size ({size})"
        with memory_fault_named(batch, remedy):
            return super().evaluate_batch(batch, stage)

    def on_fit_batch_end(
        self, batch: PaddedBatch, outputs: Predictions, loss: Tensor, should_step: bool
    ) -> None:
        """Let Noam set the learning rate after every update, in the SGD stage too, as published."""
        if should_step:
            self.hparams.noam_annealing(self.optimizer)

    def _wrap_distributed(self) -> None:
        """Wrap the modules for several processes; on CPUs without SyncBatchNorm, a GPU's."""
        if not (self.distributed_launch and self.device == "cpu"):
            super()._wrap_distributed()
            return
        for name, module in self.modules.items():
            if any(parameter.requires_grad for parameter in module.parameters()):
                self.modules[name] = torch.nn.parallel.DistributedDataParallel(module)

    def init_optimizers(self) -> None:
        """Make the optimiser of the stage that the checkpoint stands in, so that its state fits."""
        found = self.checkpointer.find_checkpoint()
        self.use_optimizer_of(epoch_of(found) if found else 0)

    def use_optimizer_of(self, epoch: int) -> None:
        """Use Adam up to `stage_one_epochs` and SGD afterwards, fresh where they change."""
        name = "SGD" if epoch > self.hparams.stage_one_epochs else "Adam"
        if self.optimizers_dict is None or type(self.optimizer).__name__ != name:
            self.optimizer = getattr(self.hparams, name)(self.modules.parameters())
            self.optimizers_dict = {"opt_class": self.optimizer}
            self.checkpointer.add_recoverable("optimizer", self.optimizer, optional_load=True)

    # The course of training

    def on_fit_start(self) -> None:
        """Load the latest checkpoint, whose own batch count ends with its epoch."""
        self.checkpointer.add_recoverable("brain", self, optional_load=True)
        super().on_fit_start()
        self.checkpointer.keep_best_and_latest()
        found = self.checkpointer.find_checkpoint()
        if found and found.meta["end-of-epoch"]:
            # A 0.5.x checkpoint saved after a test holds the number of test batches here.
            self.step, self.avg_train_loss = 0, 0.0

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Seed the epoch's draws: an interrupted run draws what an uninterrupted one would."""
        if stage == sb.Stage.TRAIN:
            draws = np.random.SeedSequence([self.hparams.seed, epoch, get_rank() or 0])
            sb.utils.seed.seed_everything(int(draws.generate_state(1)[0]), verbose=False)
            self.use_optimizer_of(self.hparams.epoch_counter.current)
        else:
            self.acc_metric = self.hparams.acc_computer()
            self.wer_metric = self.hparams.error_rate_computer()

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """After validation: checkpoint, log and plot."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            return
        stats = {"loss": stage_loss, "ACC": self.acc_metric.summarize()}
        if self.searches(stage):
            stats["WER"] = self.wer_metric.summarize("error_rate")
        if stage == sb.Stage.TEST:
            self.test_stats = stats
            return
        meta = {"epoch": epoch, "ACC": stats["ACC"]}
        self.checkpointer.save_and_keep_only(meta)
        run_on_main(self.log_epoch, [epoch, stats])

    def log_epoch(self, epoch: int, stats: Stats) -> None:
        """Say how the epoch went, and write it to train_log.txt, training.json, training.png."""
        state = {
            "epoch": epoch,
            "lr": self.optimizer.param_groups[0]["lr"],
            "steps": self.hparams.noam_annealing.n_steps,
            "optimizer": type(self.optimizer).__name__,
        }
        self.hparams.train_logger.log_stats(state, {"loss": self.train_loss}, stats)
        losses = {"train_loss": self.train_loss, "valid_loss": stats.pop("loss")}
        entry = state | losses | stats
        add_epoch(self.hparams.output_folder, entry, settings_and_versions(vars(self.hparams)))
        logger.info("%s", epoch_in_a_line(entry, self.hparams.number_of_epochs))

    # Before and after

    def fit_normaliser(self, data: DynamicItemDataset) -> None:
        """Measure the mean and standard deviation of each feature over the training set."""
        normalize = self.hparams.normalize
        # One signal at a time: what follows a signal in a padded batch would count as well.
        loader = self.make_dataloader(data, sb.Stage.VALID, None, batch_size=1)
        normalize.train()
        shown = progress(loader, "feature statistics", len(loader), "signal")
        for batch in shown if if_main_process() else loader:
            wavs, wav_lens = batch.to(self.device).sig
            normalize(self.hparams.compute_features(wavs), wav_lens, epoch=0)

    def test(self, tables: Mapping[str, list[Row]]) -> None:
        """Write the word error rate of each table, with the average of the checkpoints in save/."""
        self.checkpointer.check_one_training()
        models = sorted(found.paramfiles["model"] for found in self.checkpointer.list_checkpoints())
        names = [model.parent.name for model in models]
        result = {"checkpoint_sha256": sha256_of(models), "checkpoints": names}
        result |= settings_and_versions(vars(self.hparams))
        wer_file = Path(self.hparams.wer_file)
        report = AsrFolder(Path(self.hparams.output_folder)).wer
        if report.is_file() and result.items() <= read_json(report, dict).items():
            logger.info("%s: the word error rates of this recogniser are there", report)
            return
        rates = {}
        for name, rows in tables.items():
            vocabulary = pick(Vocabulary, vars(self.hparams))
            data = in_order(make_dataset(rows, vocabulary), "ascending")
            self.evaluate(data, test_loader_kwargs=dict(self.hparams.test_dataloader_opts))
            rates[name] = self.test_stats["WER"]
            run_on_main(self.write_wer, [wer_file.with_name(f"{wer_file.stem}_{name}.txt")])
        run_on_main(write_json, [report, {"WER": rates} | result])
        logger.info("word error rates: %s; written to %s", rates, report)

    def write_wer(self, path: Path) -> None:
        """Write the alignments of the last test."""
        with atomic_path(path) as part, part.open("w", encoding="utf-8") as stream:
            self.wer_metric.write_stats(stream)

    def on_evaluate_start(self, max_key: str | None = None, min_key: str | None = None) -> None:
        """Average the checkpoints in save/: the best and the latest."""
        checkpoints = sorted(self.checkpointer.list_checkpoints(), key=lambda found: found.path)
        self.hparams.model.load_state_dict(average_checkpoints(checkpoints, "model"), strict=True)


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Train as config.yaml says."""
    if not is_trained_here(cfg):
        raise RecipeError(f"recogniser={cfg.recogniser}: is not trained here; run infer.py with it")
    keep_speechbrain_quiet()
    experiment = Experiment.from_config(cfg)
    given: Any = OmegaConf.to_container(cfg.run_opts, resolve=True)
    presentations = {}
    if experiment.presentations.is_file():
        used = read_presentations(experiment.presentations)
        presentations = {one.name: one for archive in used.values() for one in archive}
    run_opts = run_options(given, str(pick_device(cfg.device)))
    if cfg.data not in ("corpus", "cls"):
        raise RecipeError(f"data={cfg.data}: expected corpus or cls")
    tables = ClsFolder.below(experiment.exp_folder).settings() if cfg.data == "cls" else {}
    train(load_settings(cfg, experiment, tables), run_opts, presentations)


def run_published_way(arguments: list[str]) -> None:
    """Train from a settings file alone, without config.yaml."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    keep_speechbrain_quiet()
    settings_file, options, overrides = sb.parse_arguments(arguments)
    given = {key: options[key] for key in options.overridden_args}
    try:
        device = str(pick_device(given.pop("device", "auto")))
        train(read_settings(settings_file, overrides), run_options(given, device))
    except (RecipeError, OSError) as error:
        sys.exit(str(readable(error)))
    except KeyboardInterrupt:
        logger.error("Stopped; every checkpoint is kept, and the same command goes on from there")
        sys.exit(130)


if __name__ == "__main__":
    if get_rank():  # of several processes, the first says what all of them do
        logging.disable(logging.INFO)
    if len(sys.argv) > 1 and sys.argv[1].endswith((".yaml", ".yml")):
        run_published_way(sys.argv[1:])
    else:
        run()
