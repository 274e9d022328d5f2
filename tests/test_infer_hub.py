"""The inference stage with recognisers of others: small ones of each kind, with random weights."""

import inspect
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import infer
import intelligibility.recognisers
import train_asr
from intelligibility.experiment import Experiment
from intelligibility.measures import MEASURES
from intelligibility.recognisers.whisper import WhisperRecogniser
from intelligibility.recognisers.word_scoring import marked_scored_words
from intelligibility.runs import RecipeError, read_json
from intelligibility.words import KNOWN, word_correctness
from tests import prepared_data
from tests.conftest import configure
from tests.intelligibility.recognisers import small_hub
from tests.prepared_data import LISTENERS, measures, outputs

N_SCENES = {"dev": 1, "test": 2}
N_HEARD = 2 * 3 * (len(LISTENERS) + 1)  # both ears of each signal, and of each reference once
HAS = {
    "whisper": ["wcs", "pre", "enc", "dec", "prob"],
    "ctc": ["wcs", "pre", "enc", "prob"],
    "encoder": ["pre", "enc"],
}
LAYERS = {
    "whisper": ["cnn", *(f"encoder.{n}" for n in range(3)), *(f"decoder.{n}" for n in range(4))],
    "ctc": ["cnn", *(f"encoder.{n}" for n in range(4))],
    "encoder": ["cnn", *(f"encoder.{n}" for n in range(4))],
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Return a folder with exp, as prepare_data.py leaves it, and three recognisers."""
    root = tmp_path_factory.mktemp("prepared")
    prompts = [text.upper() for text in small_hub.TEXTS]
    for split, n in N_SCENES.items():
        signals = prepared_data.heard_by_both(split, (1.2, 1.5)[:n], prompts[:n])
        prepared_data.write_tables(root / "exp/cpc1_asr_data", split, signals, sound)
    small_hub.small_whisper(root / "whisper", multilingual=True)  # which hears words everywhere
    small_hub.small_ctc(root / "ctc")
    small_hub.small_encoder(root / "encoder")
    return root


def sound(name: str, seconds: float) -> np.ndarray:
    return small_hub.speech(prepared_data.seed_of(name), seconds).numpy()


@pytest.fixture
def root(prepared, tmp_path) -> Path:
    """Return a fresh copy of it, times of change included."""
    return shutil.copytree(prepared, tmp_path / "root")


def run(root: Path, recogniser: str, *overrides: str) -> Path:
    """Run the stage in this process; return the folder of its results."""
    named = f"recogniser='{root / recogniser}'"
    cfg = configure(root / "none", root / "exp", "device=cpu", named, *overrides)
    infer.recogniser_of_process.cache_clear()
    inspect.unwrap(infer.run)(cfg)
    return root / "exp" / recogniser


def test_a_prompt_without_room_in_the_decoder_is_named_before_any_signal_is_heard(root, heard):
    table = root / "exp/cpc1_asr_data/left_test_msbg.csv"
    prompt = small_hub.TEXTS[1].upper()
    table.write_text(table.read_text().replace(prompt, f"{prompt} " * 20))
    with pytest.raises(RecipeError, match="signals are refused by recogn.*test/.* is .* tokens"):
        run(root, "whisper")
    assert not heard


@pytest.mark.parametrize("kind", HAS)
def test_measures_are_those_of_a_plain_loop(root, heard, kind):
    """It has those that it can have and no others; each ear and each reference is heard once."""
    folder = run(root, kind)
    assert len(heard) == N_HEARD
    files = [*folder.glob("*_similarity.json"), *folder.glob("*_correctness.json")]
    assert len(files) == 2 * (len(HAS[kind]) + 1)  # and of the layers
    assert not list((root / "exp").glob("*.json*"))  # nothing where our own recogniser's would be
    recogniser = small_hub.load_folder(root / kind)
    cfg = configure(root / "none", root / "exp", "device=cpu")
    pairs = infer.list_pairs(Experiment.from_config(cfg))
    assert len(pairs) == 6
    for pair in pairs:
        ears = [
            next(recogniser.recognise([infer.read_speech(wav, recogniser.lengths)], [pair.prompt]))
            for wav in (*pair.processed, *pair.reference)
        ]
        expected = {
            name: prepared_data.mean_of_best(
                *([ear.layers[layer] for ear in e] for e in (ears[:2], ears[2:]))
            )
            for name, layer in (("pre", "cnn"), ("enc", "encoder"), ("dec", "decoder"))
            if name in HAS[kind]
        }
        if kind != "encoder":
            expected["wcs"] = max(
                word_correctness(ear.text, pair.prompt, marked_scored_words) for ear in ears[:2]
            )
            best = [max(ear.log_prob for ear in e) for e in (ears[:2], ears[2:])]
            expected["prob"] = best[0] - best[1]
        assert list(expected) and set(expected) == set(HAS[kind])
        for name, value in expected.items():
            assert measures(folder, pair.split, name)[pair.name] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("kind", HAS)
def test_all_layers_in_one_pass(root, heard, kind):
    folder = run(root, kind)
    assert len(heard) == N_HEARD
    for split in N_SCENES:
        layers = read_json(folder / f"{split}_layers_similarity.json", dict)
        assert list(layers) == LAYERS[kind]
        assert layers["cnn"] == measures(folder, split, "pre")
        if kind != "ctc":  # whose head takes what leaves the last block, as it is
            assert layers[f"encoder.{2 + (kind == 'encoder')}"] == measures(folder, split, "enc")


def test_layers_are_measured_where_they_are_missing_only_and_the_record_says_by_whom(root, heard):
    journal = run(root, "whisper") / "inference.jsonl"
    first, *others = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([first.replace('"layers"', '"no layers"'), *others]))
    heard.clear()
    folder = run(root, "whisper")
    assert len(heard) == 4  # both ears of one signal and of its reference
    record = read_json(folder / "inference.json", dict)
    assert record["recogniser"] == str(root / "whisper")
    assert len(record["checkpoint_sha256"]) == 64
    assert record["settings"]["dec_mode"] == "teacher"
    assert record["settings"]["architecture"] == "WhisperForConditionalGeneration"
    heard.clear()
    run(root, "whisper", "layers=all")
    assert not heard


def test_words_of_a_few_references_alone_are_recognised_however_the_work_is_divided(
    root, monkeypatch, caplog
):
    """The share that is understood is that of these, after shards, and after another run."""
    searched = []

    def noting(self, encoded, most, plain=WhisperRecogniser.generate):
        searched.append(len(most))
        return plain(self, encoded, most)

    monkeypatch.setattr(WhisperRecogniser, "generate", noting)
    monkeypatch.setattr(infer, "CHECKED", 1)
    folder = run(root, "whisper")
    assert sum(searched) == 2 * 3 * len(LISTENERS) + 2  # both ears of each signal, of one reference
    undisturbed, share = outputs(folder), read_json(folder / "inference.json", dict)[KNOWN]
    assert "of the words in the clean references" in caplog.text
    journal = [json.loads(line) for line in (folder / "inference.jsonl").read_text().splitlines()]
    shares = [one["result"][KNOWN] for one in journal if KNOWN in one.get("result", {})]
    assert shares == [share] * len(LISTENERS)
    shutil.rmtree(folder)
    for shard in range(2):
        run(root, "whisper", f"shard={shard}", "n_shards=2")
    run(root, "whisper")
    assert outputs(folder) == undisturbed
    assert read_json(folder / "inference.json", dict)[KNOWN] == share


def test_along_its_own_words_only_the_decoder_differs(root):
    teacher = outputs(run(root, "whisper"))
    generated = outputs(run(root, "whisper", "dec_mode=generated"))
    assert teacher.keys() == generated.keys()
    differ = {name for name in teacher if teacher[name] != generated[name]}
    layers = {f"{split}_layers_similarity.json" for split in N_SCENES}
    assert differ == {"dev_dec_similarity.json", "test_dec_similarity.json", *layers}


def test_processes_give_what_one_run_gives(root, heard):
    undisturbed = outputs(run(root, "ctc"))
    shutil.rmtree(root / "exp/ctc")
    run(root, "ctc", "n_jobs=2")
    heard.clear()
    assert outputs(run(root, "ctc")) == undisturbed
    assert not heard


def test_another_model_under_the_same_name_makes_all_again(root, heard, caplog):
    run(root, "whisper")
    shutil.rmtree(root / "whisper")
    shutil.copytree(root / "encoder", root / "whisper")
    heard.clear()
    folder = run(root, "whisper")
    assert len(heard) == N_HEARD
    assert "signals to be done anew, since these changed: {'checkpoint_sha256': 6" in caplog.text
    assert not (folder / "dev_dec_similarity.json").exists()
    assert (folder / "dev_enc_similarity.json").is_file()


def without_prompts(root: Path) -> None:
    """Take the prompts out of the tables."""
    for table in (root / "exp/cpc1_asr_data").glob("*.csv"):
        lines = table.read_text().splitlines()
        rows = [line.rsplit(",", 1)[0] + "," for line in lines[1:]]
        table.write_text("\n".join([lines[0], *rows]) + "\n")


def test_without_a_prompt_the_reference_says_what_was_said(root):
    without_prompts(root)
    folder = run(root, "whisper")
    recogniser = small_hub.load_folder(root / "whisper", all_layers=False)
    cfg = configure(root / "none", root / "exp", "device=cpu")
    pair = infer.list_pairs(Experiment.from_config(cfg), with_prompts=False)[0]
    ears = [
        infer.read_speech(wav, recogniser.lengths) for wav in (*pair.processed, *pair.reference)
    ]
    text = next(recogniser.recognise(ears[2:3])).text
    assert len(text) > 3
    found = list(recogniser.recognise(ears, [text] * 4))
    layers = [[ear.layers["decoder"] for ear in ones] for ones in (found[:2], found[2:])]
    expected = prepared_data.mean_of_best(*layers)
    assert measures(folder, pair.split, "dec")[pair.name] == pytest.approx(expected, abs=1e-5)
    assert set(measures(folder, "test", "prob")) == set(measures(folder, "test", "enc"))


def test_without_a_prompt_and_without_words_the_layers_remain(root):
    with_prompts = outputs(run(root, "encoder"))
    without_prompts(root)
    assert outputs(run(root, "encoder")) == with_prompts


def test_a_signal_longer_than_the_window_is_named(root):
    wav = root / "exp/cpc1_asr_data/test/left_msbg/S10001_L0002_E001.wav"
    sf.write(wav, np.ones(5 * 16000 + 1), 16000, subtype="FLOAT")
    with pytest.raises(
        RecipeError, match="L0002_E001.wav: 5.00 s of speech; .* takes 0.065 to 5 s"
    ):
        run(root, "whisper")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dec_mode=own", "dec_mode=own: expected teacher or generated"),
        ("layers=some", "layers=some: expected all, or null"),
        ("recogniser_revision=v1", "recogniser_revision=v1: .* is a folder, not on the hub"),
    ],
)
def test_a_misspelt_setting_is_named(root, override, message):
    with pytest.raises(RecipeError, match=message):
        run(root, "whisper", override)


def test_what_it_needs_and_what_is_not_installed_is_named(root, monkeypatch):
    for module in ("hub", "whisper", "wav2vec2", "word_scoring"):
        monkeypatch.delitem(sys.modules, f"intelligibility.recognisers.{module}")
    monkeypatch.delattr(intelligibility.recognisers, "hub")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(RecipeError, match="pip install -r requirements-hub.txt"):
        run(root, "whisper")


def test_it_is_not_trained_here(root):
    cfg = configure(root / "none", root / "exp", "recogniser=openai/whisper-tiny.en")
    with pytest.raises(RecipeError, match="whisper-tiny.en: is not trained here; run infer.py"):
        inspect.unwrap(train_asr.run)(cfg)


def test_every_measure_is_of_some_recogniser():
    assert {measure.name for measure in MEASURES} == set().union(*HAS.values())
