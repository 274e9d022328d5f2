"""Training: it learns, it resumes to the bit, it starts where the published recipe starts.

Tolerances: weights, optimiser states and normalisers are compared bit for bit; gradients of two
processes against one within 1e-5 of the largest (sums in another order).
"""

import contextlib
import fcntl
import itertools
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import speechbrain as sb
import torch
import yaml
from speechbrain.utils.distributed import ddp_init_group

import train_asr
from intelligibility.experiment import write_table
from intelligibility.recognisers.values import pick
from intelligibility.runs import RECIPE, RecipeError, sole_run
from intelligibility.training.data import make_dataset
from intelligibility.training.settings import Vocabulary
from tests import toy_asr
from tests.conftest import contents, forks, run_script, start_script


def assert_same_state(one, other):
    """Compare what decides the next epoch, bit for bit."""
    for name in ("model", "normalizer", "optimizer", "noam_scheduler"):
        first, second = toy_asr.load(one / f"{name}.ckpt"), toy_asr.load(other / f"{name}.ckpt")
        torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)


# A whole run


def test_learns_the_toy_language(learnt):
    _, asr = learnt
    report = json.loads((asr / "wer.json").read_text())
    assert set(report["WER"]) == {"left_dev_msbg", "right_dev_msbg"}
    assert max(report["WER"].values()) < 25  # per cent; guessing one of six words errs in 83
    for name, rate in report["WER"].items():
        first = (asr / f"wer_{name}.txt").read_text().splitlines()[0]
        assert float(first.split()[1]) == pytest.approx(rate, abs=0.01)


def test_writes_its_course(learnt):
    _, asr = learnt
    course = toy_asr.epochs(asr)
    assert [entry["epoch"] for entry in course] == list(range(1, 15))
    assert [entry["optimizer"] for entry in course] == ["Adam"] * 13 + ["SGD"]
    assert [("WER" in entry) for entry in course] == [False] * 13 + [True]
    assert course[-1]["train_loss"] < course[0]["train_loss"] / 5
    assert len((asr / "train_log.txt").read_text().splitlines()) == 14
    assert (asr / "training.png").read_bytes().startswith(b"\x89PNG")


def test_keeps_the_best_and_the_latest(learnt):
    _, asr = learnt
    course = toy_asr.epochs(asr)
    best = max(course, key=lambda entry: (entry["ACC"], entry["epoch"]))
    kept = [yaml.safe_load((p / "CKPT.yaml").read_text()) for p in (asr / "save").glob("CKPT+*")]
    assert {meta["epoch"] for meta in kept} == {best["epoch"], 14}


def test_noam_sets_the_rate_in_both_stages(learnt):
    _, asr = learnt
    for entry in toy_asr.epochs(asr):
        rate = noam(entry["steps"], *(toy_asr.SETTINGS[key] for key in NOAM))
        assert entry["lr"] == pytest.approx(rate, rel=1e-9)


NOAM = ("d_model", "lr_adam", "n_warmup_steps")


def noam(steps, size, peak, warm_up):
    """Return the learning rate after so many steps: Vaswani et al. 2017, eq. 3."""
    return peak * size**-0.5 * np.minimum(steps**-0.5, steps * warm_up**-1.5)


def test_a_second_run_changes_nothing_in_another_place_either(
    learnt, tmp_path, monkeypatch, caplog
):
    data, asr = (shutil.copytree(folder, tmp_path / folder.name) for folder in learnt)
    assert (asr / "trained_on.json").is_file()
    before = contents(asr)
    monkeypatch.setattr(train_asr.ASR, "fit_batch", None)
    monkeypatch.setattr(train_asr.ASR, "evaluate_batch", None)
    toy_asr.train(data, asr, **toy_asr.LEARNS)
    assert "the word error rates of this recogniser are there" in caplog.text
    assert contents(asr) == before
    assert "other data" not in caplog.text


def test_normaliser_is_that_of_the_training_set_and_stays(learnt):
    data, asr = learnt
    hparams = toy_asr.settings(data, asr)
    rows = toy_asr.training_rows(hparams)
    feats = [soundfile.read(row["wav"], dtype="float32")[0] for row in rows]
    feats = torch.cat([hparams["compute_features"](torch.tensor(s)[None])[0] for s in feats])
    for checkpoint in (asr / "save").glob("CKPT+*"):
        saved = toy_asr.load(checkpoint / "normalizer.ckpt")
        torch.testing.assert_close(saved["glob_mean"], feats.mean(0), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(saved["glob_std"], feats.std(0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("stop", [1, 3], ids=["in the Adam stage", "before the switch"])
def test_resumes_between_epochs_to_the_bit(toy_data, uninterrupted, tmp_path, stop):
    toy_asr.train(toy_data, tmp_path, number_of_epochs=stop)
    toy_asr.train(toy_data, tmp_path)
    assert_same_state(toy_asr.latest(tmp_path), toy_asr.latest(uninterrupted))
    assert toy_asr.epochs(tmp_path) == toy_asr.epochs(uninterrupted)


def train_and_die(data, asr, where, count):
    """Train, and kill this process at a write by torch or before a step."""
    owner, name = {"write": (torch, "save"), "step": (train_asr.ASR, "fit_batch")}[where]
    original, calls = getattr(owner, name), itertools.count(1)

    def dying(*args, **kwargs):
        if next(calls) == count:
            if name == "save":
                Path(args[1]).write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, dying)
    toy_asr.train(data, asr)


@pytest.mark.parametrize("where, count", [("write", 10), ("step", 15)])
def test_resumes_after_a_kill(toy_data, uninterrupted, tmp_path, where, count):
    """An epoch has four writes by torch and four steps: the third epoch is hit, and the fourth."""
    run = forks().Process(target=train_and_die, args=(toy_data, tmp_path, where, count))
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    reached = int((toy_asr.latest(tmp_path) / "counter.ckpt").read_text())
    assert 1 <= reached < toy_asr.SETTINGS["number_of_epochs"]
    toy_asr.train(toy_data, tmp_path)
    assert_same_state(toy_asr.latest(tmp_path), toy_asr.latest(uninterrupted))
    assert not list((tmp_path / "save").rglob(".part/*"))


def before_each_step(monkeypatch, call):
    """Make a call with the brain and the batch before each step."""
    fit_batch = train_asr.ASR.fit_batch

    def step(brain, batch):
        call(brain, batch)
        return fit_batch(brain, batch)

    monkeypatch.setattr(train_asr.ASR, "fit_batch", step)


def test_resumes_within_an_epoch(toy_data, tmp_path):
    """From a checkpoint within an epoch, only the rest of its batches is trained on."""
    steps = []

    def stop_at_the_fourth(brain, batch):
        if len(steps) == 3:
            raise KeyboardInterrupt
        steps.append(batch.id)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        before_each_step(patch, stop_at_the_fourth)
        toy_asr.train(toy_data, tmp_path, {"ckpt_interval_steps": 2, "ckpt_interval_minutes": 0})
    toy_asr.train(toy_data, tmp_path, number_of_epochs=1)
    assert toy_asr.load(toy_asr.latest(tmp_path) / "noam_scheduler.ckpt")["n_steps"] == 4


@pytest.fixture
def seen(monkeypatch):
    """Return a list of the first weights, and then each update's epoch, optimiser and rate."""
    seen = []

    def note(brain, batch):
        if not seen:
            model = brain.hparams.model.state_dict()
            seen.append({name: value.clone() for name, value in model.items()})
        state = brain.hparams.epoch_counter.current, type(brain.optimizer).__name__
        seen.append((*state, brain.optimizer.param_groups[0]["lr"]))

    before_each_step(monkeypatch, note)
    return seen


def assert_resumed(seen, start, asr, steps_before, schedule, epoch):
    """One epoch of SGD from the start: weights, normaliser, Noam, checkpoints."""
    weights, *updates = seen
    model = {
        name.replace(toy_asr.OLD, toy_asr.NEW): value
        for name, value in toy_asr.load(start / "model.ckpt").items()
    }
    torch.testing.assert_close(weights, model, rtol=0, atol=0)
    assert {update[:2] for update in updates} == {(epoch, "SGD")}
    rates = [2.5e-5, *noam(steps_before + np.arange(1.0, len(updates)), *schedule)]
    np.testing.assert_allclose([rate for *_, rate in updates], rates, rtol=1e-9)

    latest = toy_asr.latest(asr)
    assert toy_asr.load(latest / "noam_scheduler.ckpt")["n_steps"] == steps_before + len(updates)
    old, new = toy_asr.load(start / "normalizer.ckpt"), toy_asr.load(latest / "normalizer.ckpt")
    for name in ("count", "glob_mean", "glob_std"):
        torch.testing.assert_close(new[name], old[name], rtol=0, atol=0)
    assert [path.name for path in (asr / "save").glob("CKPT+*")] == [latest.name]
    assert [path.name for path in (asr / "start").iterdir()] == [start.name]


def test_resumes_a_published_checkpoint(toy_data, uninterrupted, tmp_path, seen, caplog):
    start = toy_asr.published_form(
        toy_asr.latest(uninterrupted), tmp_path / "kept/CKPT+old+00", epoch=110
    )
    shutil.copytree(start, tmp_path / "asr/save/CKPT+old+00")
    shutil.copy(uninterrupted / "save/tokenizer.ckpt", tmp_path / "asr/save")
    (tmp_path / "asr/trained_on.json").write_text("{}")  # of what was in the folder before
    stages = {"number_of_epochs": 111, "stage_one_epochs": 90, "lr_sgd": 2.5e-5}
    toy_asr.train(toy_data, tmp_path / "asr", from_scratch=False, **stages)
    steps = toy_asr.load(start / "noam_scheduler.ckpt")["n_steps"]
    schedule = [toy_asr.SETTINGS[key] for key in NOAM]
    assert_resumed(seen, start, tmp_path / "asr", steps, schedule, 111)
    assert "other data" not in caplog.text
    assert json.loads((tmp_path / "asr/trained_on.json").read_text())["signals"] == 32


def test_resumes_the_reference_checkpoint(shared, tmp_path, seen):
    """A folder that SpeechBrain 0.5.9 wrote itself, with its own sizes and signals."""
    golden, asr, data = shared / "golden/infer", tmp_path / "asr", tmp_path / "data"
    shutil.copytree(golden / "save", asr / "save")
    shutil.copytree(golden / "wavs", data / "wavs")
    rows = []
    for wav in sorted((data / "wavs").glob("*_msbg.wav")):
        seconds = soundfile.info(wav).duration
        row = {"ID": wav.stem, "duration": seconds, "wav": wav, "spk_id": "L0001"}
        rows.append(row | {"wrd": "ONE TWO THREE"})
    assert len(rows) == 14
    for name in ("binaural_train_msbg", "binaural_dev_msbg", "left_dev_msbg", "right_dev_msbg"):
        write_table(data / f"{name}.csv", rows[: None if "train" in name else 1])
    sizes = json.loads((golden / "settings.json").read_text())
    sizes |= {"number_of_epochs": 23, "batch_size": 4, "gradient_accumulation": 1, "num_workers": 0}
    folders = {"data_folder": str(data), "output_folder": str(asr)}
    hparams = train_asr.read_settings(RECIPE / "transformer_cpc1.yaml", sizes | folders)
    train_asr.train(hparams, train_asr.run_options({"noprogressbar": True}, "cpu"))
    start = next((golden / "save").glob("CKPT+*"))
    assert_resumed(seen, start, asr, 3300, (128, 1.0, 25000), 23)


@pytest.fixture
def saved(uninterrupted, tmp_path):
    """Return a copy of the folder of checkpoints."""
    return shutil.copytree(uninterrupted / "save", tmp_path / "save")


@pytest.mark.parametrize(
    "changes, recorded, message",
    [
        ({"d_ffn": 32, "number_of_epochs": 5}, True, "d_ffn is 32, trained with 64"),
        ({"d_ffn": 32, "number_of_epochs": 5}, False, "(?s)CKPT.*size mismatch.*asr_overrides"),
        ({"nhead": 1}, True, "nhead is 1, trained with 2"),  # which fits the tensors
        ({"Transformer": {"normalize_before": True}}, True, "Transformer.normalize_before is True"),
    ],
)
def test_other_settings_than_the_checkpoints_are_named(toy_data, saved, changes, recorded, message):
    if not recorded:
        (saved / "model_settings.json").unlink()
    with pytest.raises(RecipeError, match=message):
        toy_asr.train(toy_data, saved.parent, **changes)


def test_checkpoints_of_two_trainings_are_refused(toy_data, uninterrupted, tmp_path):
    toy_asr.train(toy_data, tmp_path, number_of_epochs=1)
    mine, theirs = toy_asr.latest(tmp_path), toy_asr.latest(uninterrupted)
    copy = shutil.copytree(theirs, tmp_path / "save/CKPT+2020-01-01+00-00-00+00")
    named = [f"{re.escape(path.name)} from training " for path in (copy, mine)]
    with pytest.raises(RecipeError, match=".*".join(named)):
        toy_asr.train(toy_data, tmp_path)
    assert copy.is_dir() and mine.is_dir()


def test_data_may_not_be_prepared_meanwhile(toy_data, tmp_path, monkeypatch):
    tried = []

    def tries(brain, batch):
        with pytest.raises(RecipeError, match="is in use"), sole_run(toy_data, "prepare_data"):
            pass
        tried.append(batch.id)

    before_each_step(monkeypatch, tries)
    toy_asr.train(toy_data, tmp_path, number_of_epochs=1)
    assert len(tried) == 4
    with sole_run(toy_data, "prepare_data"), pytest.raises(RecipeError, match="is in use"):
        toy_asr.train(toy_data, tmp_path)


@pytest.mark.parametrize("where", ["a file", "below a file", "save is a file"])
def test_a_folder_that_cannot_be_written_is_named(toy_data, tmp_path, where):
    file = tmp_path / ("save" if where == "save is a file" else "file")
    file.write_text("")
    asr = {"a file": file, "below a file": file / "asr", "save is a file": tmp_path}[where]
    with pytest.raises(RecipeError, match=f"{file}.*cannot be written there .*path.asr_folder"):
        toy_asr.train(toy_data, asr)


def test_names_the_signals_of_a_loss_that_is_nan(toy_data, tmp_path):
    copy = shutil.copytree(toy_data, tmp_path / "data")
    wav = copy / "train/left_msbg/S90003_L9001_E901.wav"
    signal, rate = soundfile.read(wav)
    soundfile.write(wav, signal * np.nan, rate, subtype="FLOAT")
    toy_asr.train(toy_data, tmp_path / "asr", number_of_epochs=1)
    with pytest.raises(RecipeError, match=r"loss is nan in epoch 2.*left_msbg/S90003_L9001_E901"):
        toy_asr.train(copy, tmp_path / "asr")
    assert (toy_asr.latest(tmp_path / "asr") / "counter.ckpt").read_text() == "1"


@pytest.mark.parametrize(
    "part, remedy",
    [
        ("ctc_cost", r"batch_size \(8"),
        ("valid_search", r"valid_beam_size \(2\)"),
        ("BeamSearch", r"test_beam_size \(4\)"),
    ],
)
def test_says_which_batch_did_not_fit(toy_data, tmp_path, monkeypatch, part, remedy):
    def too_much(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    hparams = toy_asr.settings(toy_data, tmp_path, number_of_epochs=1, valid_search_interval=1)
    if part == "BeamSearch":
        monkeypatch.setattr(train_asr.BeamSearch, "__call__", too_much)
    else:
        hparams[part] = too_much
    with pytest.raises(RecipeError, match=rf"(?s)batch of \d signals of up to \d.*{remedy}"):
        train_asr.train(hparams, train_asr.run_options({"noprogressbar": True}, "cpu"))


# Several processes


def keep_gradients(data, asr, result, environment):
    """Write the gradients of one step on eight signals, or of this process' half of them."""
    os.environ.update(environment)
    hparams = toy_asr.trained_settings(data, asr, **toy_asr.NO_MASKS, transformer_dropout=0.0)
    rows = toy_asr.training_rows(hparams)
    lengths = [row["wrd"].count(" ") for row in rows]
    usual = max(set(lengths), key=lengths.count)  # padding would change the frames beside it
    rows = [row for row, length in zip(rows, lengths, strict=True) if length == usual][:8]
    assert len(rows) == 8
    options = train_asr.run_options({"noprogressbar": True}, "cpu")
    ddp_init_group(options)
    mine = rows[int(environment["RANK"]) :: 2] if environment else rows
    checkpointer = hparams["checkpointer"]()
    brain = train_asr.ASR(hparams["modules"], hparams["Adam"], hparams, options, checkpointer)
    brain.on_fit_start()
    brain.modules.eval()  # batch normalisation held fixed
    gradients = {}
    brain.optimizers_step = lambda: gradients.update(
        {name: value.grad.clone() for name, value in hparams["model"].named_parameters()}
    )
    dataset = make_dataset(mine, pick(Vocabulary, hparams))
    loader = brain.make_dataloader(dataset, sb.Stage.VALID, None, batch_size=8)
    brain.step = 1
    brain.fit_batch(next(iter(loader)))
    torch.save(gradients, result)
    if environment:
        torch.distributed.destroy_process_group()


def test_two_processes_step_as_one_does(learnt, tmp_path):
    data, asr = learnt
    copy = shutil.copytree(asr, tmp_path / "asr")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [group | {"RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    runs = [
        forks().Process(target=keep_gradients, args=(data, copy, tmp_path / name, environment))
        for name, environment in zip(("single", "0", "1"), ({}, *ranks), strict=True)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(300)
        assert run.exitcode == 0
    expected = toy_asr.load(tmp_path / "single")
    assert len(expected) > 40 and all(value.abs().max() > 0 for value in expected.values())
    for rank in "01":
        found = toy_asr.load(tmp_path / rank)
        for name, value in expected.items():
            # Sums over frames cancel: 1.4e-5 was seen on other kernels. A wrong mean is 1e-1 off.
            limit = 1e-3 * value.abs().max()
            torch.testing.assert_close(found[name], value, rtol=0, atol=float(limit), msg=name)


def command_line(folder, asr, way="hydra", **changes):
    """Return words that train for an epoch, with Hydra or on the settings file alone."""
    settings = toy_asr.SETTINGS | {"number_of_epochs": 1, "valid_search_interval": 1} | changes
    if way == "published":
        settings |= {"data_folder": folder / "cpc1_asr_data", "output_folder": asr}
        options = [f"--{key}={value}".replace("'", "") for key, value in settings.items()]
        file = str(RECIPE / "transformer_cpc1.yaml")
        return [file, *options, "--noprogressbar", "--device=cpu"]
    options = [f"path.exp_folder={folder}", f"path.asr_folder={asr}", "device=cpu"]
    options += [f"seed={settings.pop('seed')}", f"from_scratch={settings.pop('from_scratch')}"]
    options += [f"asr_overrides.{key}={value}" for key, value in settings.items()]
    options = [option.replace("'", "").replace(" ", "") for option in options]
    return [*options, "run_opts.noprogressbar=true"]


@pytest.fixture(scope="session")
def experiment(toy_data, tmp_path_factory):
    """Return an exp_folder with the few signals in it."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "cpc1_asr_data").symlink_to(toy_data)
    return folder


# A thread of the process group that lives on can abort Python's exit, once in ten or twenty runs.
THREADS = """
import runpy, sys
from pathlib import Path

sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
threads = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
assert not any("gloo" in thread for thread in threads), threads
"""


def test_two_processes_train_and_end(experiment, tmp_path):
    (tmp_path / "script.py").write_text(THREADS)
    torchrun = ["torch.distributed.run", "--standalone", "--nproc_per_node=2", "script.py"]
    command = [sys.executable, "-m", *torchrun, RECIPE / "train_asr.py"]
    run = subprocess.run(
        [*command, *command_line(experiment, tmp_path / "asr")],
        env=os.environ | {"PYTHONPATH": str(RECIPE), "OMP_NUM_THREADS": "1"},
        **{"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300},
    )
    assert run.returncode == 0, run.stderr
    for line in ("epoch 1 of 1: ", "word error rates: ", "Done in "):  # by one of the two
        assert (run.stdout + run.stderr).count(line) == 1
    assert toy_asr.epochs(tmp_path / "asr")[0]["steps"] == 2  # 32 signals, 8 each for two processes
    assert len(list((tmp_path / "asr/save").glob("CKPT+*"))) == 1
    rates = json.loads((tmp_path / "asr/wer.json").read_text())["WER"]
    assert set(rates) == {"left_dev_msbg", "right_dev_msbg"}


WAYS = ("hydra", "published")


def test_both_ways_of_starting_are_one(experiment, tmp_path):
    """With Hydra, and on the settings file alone as published: the same weights."""
    for way in WAYS:
        folder = Path(os.path.relpath(experiment, tmp_path))
        run = run_script("train_asr.py", *command_line(folder, Path(way), way), cwd=tmp_path)
        assert run.returncode == 0, run.stderr
    assert_same_state(*(toy_asr.latest(tmp_path / way) for way in WAYS))
    (one,), (other,) = (toy_asr.epochs(tmp_path / way) for way in WAYS)
    assert one == other


@pytest.mark.parametrize(
    "change, message",
    [
        ("from_scratch=false", "no checkpoint to start from"),
        ("asr_overrides=5", "asr_overrides=5: expected one of its keys, such as asr_overrides."),
    ],
)
def test_an_error_is_a_message_not_a_traceback(experiment, tmp_path, change, message):
    key = change.split("=")[0]
    words = command_line(experiment, tmp_path)
    words = [word for word in words if not word.startswith((f"{key}.", f"{key}="))]
    run = run_script("train_asr.py", *words, change)
    assert run.returncode == 1
    assert message in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_a_terminal_shows_progress_and_each_epoch(experiment, tmp_path):
    command = [sys.executable, RECIPE / "train_asr.py", *command_line(experiment, tmp_path)]
    command.remove("run_opts.noprogressbar=true")
    shown, written = pty.openpty()
    fcntl.ioctl(written, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # lines, columns
    text = b""
    with subprocess.Popen(command, stderr=written, stdout=written) as run:
        os.close(written)
        with contextlib.suppress(OSError):  # of Linux, at its end
            while block := os.read(shown, 65536):
                text += block
    os.close(shown)
    text = text.decode()
    assert run.returncode == 0, text
    assert re.search(r"4/4 \[.*train_loss=", text)  # SpeechBrain's bar over the batches
    epoch = (
        r"epoch 1 of 1: loss [\d.]+, validation [\d.]+; accuracy [\d.]+ %, word error rate [\d.]+ %"
    )
    assert re.search(epoch, text)
    for noise in ("Going into epoch", "CKPT+", "Warning", "Gradscaler", "checkpoint here"):
        assert noise not in text
    log = max((experiment / "logs").glob("train_asr-*.log"), key=lambda path: path.stat().st_mtime)
    assert len(re.findall(epoch, log.read_text())) == 1


@pytest.mark.parametrize("way", WAYS)
def test_ctrl_c_is_a_line_and_the_same_command_goes_on(experiment, tmp_path, way):
    words = command_line(experiment, tmp_path / "asr", way, num_workers=2, number_of_epochs=40)
    run = start_script(tmp_path, "train_asr.py", *words)
    said = tmp_path / "stderr"
    while run.is_alive() and not (said.is_file() and "epoch 1 of 40" in said.read_text()):
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)
    run.join(60)
    assert run.exitcode == 130
    assert "Traceback" not in said.read_text() and "Error" not in said.read_text()
    *_, last = said.read_text().splitlines()
    assert last.count("Stopped") == 1 and "the same command goes on" in last
    with pytest.raises(ProcessLookupError):  # no worker lives on
        os.killpg(run.pid, 0)
    assert toy_asr.epochs(tmp_path / "asr")[0]["epoch"] == 1


@pytest.mark.parametrize(
    "changes, steps",
    [
        ({"dynamic_batching": True, "max_batch_length": 9}, range(2, 32)),
        ({"gradient_accumulation": 2}, [2]),  # four batches
    ],
    ids=["of similar length", "accumulated"],
)
def test_batches_become_steps(toy_data, tmp_path, changes, steps):
    toy_asr.train(toy_data, tmp_path, **changes, number_of_epochs=1)
    assert toy_asr.epochs(tmp_path)[0]["steps"] in steps


# The losses


def test_losses_by_their_formulas(learnt):
    """CTC by torch, and label smoothing written out: Szegedy et al. 2016, section 7."""
    hparams = toy_asr.trained_settings(*learnt)
    rows = toy_asr.training_rows(hparams)[:4]
    brain = toy_asr.brain_of(hparams)
    dataset = make_dataset(rows, pick(Vocabulary, hparams))
    batch = next(iter(brain.make_dataloader(dataset, sb.Stage.VALID, None, batch_size=4)))
    torch.manual_seed(0)
    p_ctc = torch.randn(4, 60, 40).log_softmax(-1)
    p_seq = torch.randn(4, batch.tokens_eos[0].shape[1], 40).log_softmax(-1)
    loss = brain.compute_objectives((p_ctc, p_seq, batch.sig[1], None), batch, sb.Stage.TRAIN)

    ctc = kl = 0.0
    for row in range(4):
        tokens = hparams["tokenizer"].encode_as_ids(batch.wrd[row])
        frames = round(60 * float(batch.sig[1][row]))
        scores = p_ctc[row, :frames, None]
        sizes = torch.tensor([frames]), torch.tensor([len(tokens)])
        ctc += torch.nn.functional.ctc_loss(scores, torch.tensor([tokens]), *sizes, reduction="sum")
        for step, token in enumerate([*tokens, hparams["eos_index"]]):
            wanted = torch.full((40,), 0.1 / 39)
            wanted[token] = 0.9
            kl += (wanted * (wanted.log() - p_seq[row, step])).sum()
    assert float(loss) == pytest.approx(float(0.5 * ctc / 4 + 0.5 * kl / 4), rel=1e-4)


def test_words_at_its_end_are_those_of_speechbrains_search(learnt, monkeypatch):
    """Of signals of different lengths in one batch."""
    hparams = toy_asr.trained_settings(*learnt)
    hparams["checkpointer"]().recover_if_possible()
    brain = toy_asr.brain_of(hparams)
    brain.modules.eval()
    dataset = make_dataset(toy_asr.training_rows(hparams)[:4], pick(Vocabulary, hparams))
    batch = next(iter(brain.make_dataloader(dataset, sb.Stage.VALID, None, batch_size=4)))
    assert len(set(batch.sig[1].tolist())) > 1
    theirs = hparams["valid_search"].eval()
    theirs.beam_size, theirs.length_normalization = hparams["test_beam_size"], True
    with torch.no_grad():
        found = brain.compute_forward(batch, sb.Stage.TEST)[3]
        monkeypatch.setattr(brain, "search_as_infer", theirs)
        expected = brain.compute_forward(batch, sb.Stage.TEST)[3]
    assert any(found) and found == expected


# SpeechBrain's options


def test_bfloat16_trains_and_saves_float32(toy_data, tmp_path):
    toy_asr.train(toy_data, tmp_path, {"precision": "bf16"}, number_of_epochs=1)
    model = toy_asr.load(toy_asr.latest(tmp_path) / "model.ckpt")
    assert {value.dtype for value in model.values()} == {torch.float32, torch.int64}
    toy_asr.train(toy_data, tmp_path, number_of_epochs=2)  # and goes on without it
    assert [entry["epoch"] for entry in toy_asr.epochs(tmp_path)] == [1, 2]


@pytest.mark.parametrize("given, norm", [({}, 1.5), ({"max_grad_norm": 7.0}, 7.0)])
def test_published_names_reach_speechbrain(toy_data, tmp_path, given, norm):
    published = {"gradient_clipping": 1.5, "gradient_accumulation": 3}
    brain = toy_asr.brain_of(toy_asr.settings(toy_data, tmp_path, **published), **given)
    assert (brain.max_grad_norm, brain.grad_accumulation_factor) == (norm, 3)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"precison": "bf16"}, "run_opts: .*precison"),
        ({"device": "foo"}, "device=foo: expected auto, cpu, cuda"),
        ({"precision": "bf17"}, "run_opts.precision=bf17: expected fp32, fp16, bf16"),
        ({"noprogressbar": 1}, "run_opts.noprogressbar=1: expected true or false"),
        ({"max_grad_norm": "five"}, "run_opts.max_grad_norm=five: expected a number"),
        ({"ckpt_interval_steps": 2.5}, "ckpt_interval_steps=2.5: expected a whole number"),
    ],
)
def test_names_a_run_option_that_does_not_exist(given, message):
    with pytest.raises(RecipeError, match=message):
        train_asr.run_options(given, "cpu")


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    options = train_asr.run_options({}, "cuda")
    assert (options.device, options.distributed_backend) == ("cuda:3", "nccl")
    assert train_asr.run_options({}, "cpu").distributed_backend == "gloo"
