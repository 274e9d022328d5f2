"""What a user meets at the terminal: readable messages, and keys that a script does not read."""

import errno
import re
import shlex

import pytest
from omegaconf import OmegaConf

from intelligibility import command_line
from intelligibility.configuration import ScoreSettings
from intelligibility.runs import RecipeError, versions
from tests.conftest import configure, run_script

CFG = OmegaConf.create({"path": {"root": "???", "train": "${path.root}/train"}, "seed": 3})


def refused(script: str, *overrides: str) -> str:
    """Run a script that has to end with a message; return its stderr."""
    result = run_script(script, *overrides)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


# In this process


def test_provenance_resolves_what_it_can():
    made_by = command_line.provenance(CFG)
    assert made_by["seed"] == 3
    assert made_by["config"]["path"]["train"] == "(not given)/train"
    assert OmegaConf.is_missing(CFG.path, "root")
    assert made_by["versions"] == versions()


def stage_that(error):
    """Return a stage that raises."""

    @command_line.reports_errors(reads=())
    def stage(cfg):
        raise error

    return stage


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RecipeError("x.wav: found 1 channel, expected 2"), 1, "x.wav: found 1 channel"),
        (KeyboardInterrupt(), 130, "Stopped: what is done is kept"),
    ],
    ids=["ours", "Ctrl-C"],
)
def test_an_error_is_one_line_and_a_status(caplog, error, status, said):
    with pytest.raises(SystemExit) as stop:
        stage_that(error)(CFG)
    assert stop.value.code == status
    (message,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert message.startswith(said) and "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room and run again"),
        (errno.EDQUOT, "make room and run again"),
        (errno.EACCES, "give folders that are there, or can be made, and are yours"),
        (errno.ENOTDIR, "give folders that are there, or can be made, and are yours"),
        (errno.EROFS, "give a path.exp_folder that can be written"),
        (errno.EIO, None),
    ],
)
def test_an_error_of_the_file_system_is_a_message_wherever_it_strikes(caplog, number, remedy):
    with pytest.raises(OSError if remedy is None else SystemExit):
        stage_that(OSError(number, "reason", "prepared.jsonl"))(CFG)
    assert remedy is None or ("prepared.jsonl" in caplog.text and remedy in caplog.text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["n_jobs=0"], "n_jobs=0: expected a whole number of processes, or -1 for one per core"),
        (["seed=-1"], "seed=-1: expected a whole number, 0 or more"),
        (["n_shards=0"], "n_shards=0: expected a whole number, 1 or more"),
        (["shard=-1"], "shard=-1: expected 0 to n_shards - 1"),
        (["shard=3", "n_shards=3"], "shard=3: expected 0 to n_shards - 1, with n_shards=3"),
        (["dev_percent=1"], "dev_percent=1: expected a share of the scenes, 0 to below 1"),
        (["dev_percent=30"], "dev_percent=30: expected a share"),
        (["dev_percent=nan"], "dev_percent=nan: expected a share"),
        *((fine, None) for fine in ([], ["seed=0"], ["n_jobs=-1"], ["dev_percent=0"])),
        (["shard=2", "n_shards=3"], None),
    ],
)
def test_a_number_that_no_stage_can_use_is_named(tmp_path, changes, message):
    cfg = configure(tmp_path, tmp_path, *changes)
    if message is None:
        command_line.check_ranges(cfg)
    else:
        with pytest.raises(RecipeError, match=message):
            command_line.check_ranges(cfg)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("n_jobs=1.5", "a whole number"),
        ("n_jobs=true", "a whole number"),
        ("seed=one", "a whole number"),
        ("seed=null", "a value"),
        ("dev_percent=x", "a number"),
        ("skip_bad=5.5", "true or false"),
        ("MSBGEar.ahr=loud", "a number"),
        ("report_rows=all", "a whole number"),
        ("start=true", "a number"),
        ("path=5", "one of its keys, such as path.root=..."),
        ("asr_overrides=5", "one of its keys"),
        *((word, None) for word in ("n_jobs=2", "seed=choice(1,2)", "asr_overrides.x=[1,2]")),
        *((word, None) for word in ("start=null", "ahr/x=1")),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_one_that_is_expected(word, expected):
    known = command_line.known_keys(command_line.register("score.yaml", ScoreSettings))
    if expected is None:
        command_line.check_word(word, known)
    else:
        with pytest.raises(SystemExit) as stop:
            command_line.check_word(word, known)
        assert str(stop.value).startswith(f"{word}: expected {expected}")


@pytest.mark.parametrize("option", ["--config-name={}", "-cn {}"])
def test_a_value_of_another_type_in_a_file_is_refused_with_its_name(tmp_path, option):
    file = tmp_path / "mine.yaml"
    words = ["infer.py", *option.format("mine").split(" "), f"--config-dir={tmp_path}"]
    known = command_line.known_keys(command_line.register())
    file.write_text("{defaults: [config], seed: 2}")
    command_line.check_file(words, known)
    file.write_text("MSBGEar: {ahr: loud}")
    with pytest.raises(SystemExit, match=f"{file}: MSBGEar.ahr=loud: expected a number"):
        command_line.check_file(words, known)


# From a terminal


@pytest.mark.parametrize(
    ("script", "override", "reads"),
    [
        ("prepare_data.py", "device=cpu", "skip_bad"),
        ("train_asr.py", "n_jobs=8", "from_scratch"),
        ("infer.py", "check_only=true", "n_shards"),
        ("evaluate.py", "shard=3", "calibration"),
    ],
)
def test_a_key_that_a_script_does_not_read_is_refused(tmp_path, script, override, reads):
    message = refused(script, f"path.exp_folder={tmp_path}", override)
    key = override.split("=")[0]
    assert f"{key}: {script} does not read this; it reads " in message
    listed = message.split("it reads ")[1].split("\n")[0].split(", ")
    assert reads in listed and "path" in listed and key not in listed


def test_all_unread_keys_are_named_those_in_groups_too(tmp_path):
    overrides = ["+run_opts.precision=bf16", "MSBGEar.ahr=0", "seed=2", "dtw=exact"]
    message = refused("evaluate.py", f"path.exp_folder={tmp_path}", *overrides)
    assert "run_opts.precision, MSBGEar.ahr, dtw: evaluate.py does not read this" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["n_job=2"], "n_job: the configuration has no such key; did you mean n_jobs? --help"),
        (["--config-name", "demo/config", "path.rot=/x"], "did you mean path.root? --help"),
        (["asr_overides.nhead=1"], "did you mean asr_overrides? --help"),
        (["xyzzy=1"], "xyzzy: the configuration has no such key; --help shows all of them"),
    ],
)
def test_a_key_that_is_misspelt_comes_with_the_one_that_is_meant(words, message):
    assert message in refused("infer.py", *words)


def test_a_folder_whose_configuration_builds_on_ours_is_refused():
    message = refused("infer.py", "--config-path", "demo")
    assert "demo/config.yaml would build on itself; give --config-name demo/config" in message


def test_a_value_that_hydra_cannot_read_comes_with_the_way_to_write_it(tmp_path):
    message = refused("prepare_data.py", "path.root=~/x", f"path.exp_folder={tmp_path}")
    assert message.startswith("path.root=~/x: Hydra cannot read this value")
    (advice,) = shlex.split(message.strip().rsplit(": ", 1)[1])
    message = refused("prepare_data.py", advice, f"path.exp_folder={tmp_path}")
    assert "no folder /" in message and "~" not in message.split("no folder ")[1].split(";")[0]


def test_numbers_are_refused_before_any_header_is_read(release, tmp_path):
    for wav in release.rglob("*.wav"):
        wav.write_bytes(b"")  # each would be a problem
    paths = [f"path.root={release}", f"path.exp_folder={tmp_path}/exp"]
    message = refused("prepare_data.py", *paths, "shard=3", "n_shards=3")
    assert "expected 0 to n_shards - 1" in message
    assert "empty file" not in message and "headers" not in message


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("path.exp_folder={tmp}/notes.txt", "give a folder of your own"),
        ("path.exp_folder={tmp}/notes.txt/exp", "give a folder of your own"),
        # A name longer than a file may have: also refused to those who may write everywhere.
        (f"path.exp_folder=/tmp/{'x' * 300}", "File name too long.*give a folder of your own"),
        ("path.exp_folder=", r"name a folder \(is a variable of the shell unset\?\)"),
        ("path.exp_folder=null", r"name a folder \(is a variable of the shell unset\?\)"),
        ("path.asr_folder=", "name a folder"),
    ],
)
def test_a_folder_that_cannot_be_made_is_named(tmp_path, word, message):
    (tmp_path / "notes.txt").write_text("precious")
    word = word.format(tmp=tmp_path)
    said = refused("evaluate.py", *[f"path.exp_folder={tmp_path}"] * ("asr" in word), word)
    assert re.search(message, said), said
    if "notes" in word:
        assert f"{word}: [Errno" in said
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_what_a_script_ran_with_is_in_its_log(tmp_path):
    refused("evaluate.py", f"path.exp_folder={tmp_path}/exp", "seed=7")
    (log,) = (tmp_path / "exp/logs").glob("evaluate-*.log")
    text = log.read_text()
    assert '"command": "evaluate.py' in text and '"seed": 7' in text and '"speechbrain"' in text
