"""Before stage 1: download a challenge's archives from Zenodo, check and unpack them.

    python get_data.py corpus=cpc2 path.root=/data                      # all of it
    python get_data.py corpus=cpc2 path.root=/data only=test,labels     # the smallest benchmark
    python get_data.py corpus=cpc1 path.root=/data check_only=true      # sizes, and what is missing

Reads   the Zenodo record of the challenge: what there is, how large, with which MD5
Writes  path.root/archives/       the archives; they may be deleted once they are unpacked
        path.root/archives/*.json which files each gave: what is unpacked is not downloaded again
        path.root/clarity_CPC...  the release, where prepare_data.py looks for it

`only` chooses parts, which are known by the archives' names: train, test (CPC3's dev and eval),
dev, eval, labels. Sizes and the room on the disk come first. A download that was stopped goes on
where it was; a file whose MD5 is not the record's is deleted. An archive that would write or link
outside its folder is refused. Files that are there already, from elsewhere, stay as they are. At
the end `prepare_data.py check_only=true` reports what is ready.
"""

import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, ListConfig

from intelligibility.command_line import reports_errors
from intelligibility.corpora import corpus_of
from intelligibility.corpora.clarity import configured
from intelligibility.corpora.corpus import Corpus
from intelligibility.corpora.download import RecordFile, download, partial_file, read_record
from intelligibility.corpora.unpacking import SUFFIXES, files_to_move, move, unpacked
from intelligibility.runs import (
    RECIPE,
    RecipeError,
    atomic_path,
    lacking_room,
    read_json,
    sole_run,
    write_json,
)

logger = logging.getLogger(__name__)

READS = ("only", "check_only")
# In the order of unpacking: where two archives hold the same file, the later one's is kept.
PARTS = ("train", "dev", "test", "eval", "labels")
# The first whose word is in an archive's name; an archive without any of them is the training's.
PART_WORDS = {
    "demo": "demo",
    "label": "labels",
    "response": "labels",
    "test": "test",
    "eval": "eval",
    "dev": "dev",
}
LABELS = re.compile(r"CPC\d\.(test|dev|eval).*\.json")
UNPACKED = 1.6  # times an archive's size, at most: 16-bit sound hardly shrinks


@hydra.main(config_path=".", config_name="config", version_base="1.3")
@reports_errors(reads=READS)
def run(cfg: DictConfig) -> None:
    """Download and unpack what is missing of one corpus."""
    corpus = corpus_of(cfg)
    if corpus.zenodo is None:
        raise RecipeError(f"corpus={corpus.name} has no record on Zenodo")
    root = configured(cfg, "root")
    if root is None:
        raise RecipeError("path.root is not set: give the folder for the data, path.root=/data")
    files = choose(read_record(corpus.zenodo), cfg.only)
    archives = root / "archives"
    with sole_run(archives, "get_data"):
        missing = [file for file in files if not contents_of(file, archives).is_file()]
        for left in archives.glob("tmp????????"):  # pooch's, of a run that was killed
            left.unlink()
        check_room(missing, len(files), archives)
        if cfg.check_only:
            return
        for file in missing:
            download(file, archives)
            put_in_place(file, archives, root, folder_of(corpus, part_named(file.name), root))
    report_readiness(cfg, root, [file for file in files if part_named(file.name) == "labels"])


def part_named(name: str) -> str:
    """Return which part a file of the record is, by its name."""
    return next((part for word, part in PART_WORDS.items() if word in name.lower()), "train")


def choose(files: list[RecordFile], only: ListConfig | str | None) -> list[RecordFile]:
    """Choose the files of the parts that were asked for, in the order of unpacking."""
    of_use = (*SUFFIXES, ".json")
    parts = {file: part_named(file.name) for file in files if file.name.lower().endswith(of_use)}
    wanted = set(only.split(",") if isinstance(only, str) else only or PARTS)
    if "test" in wanted and "test" not in parts.values():
        wanted |= {"dev", "eval"}  # CPC3 has two tests
    if unknown := wanted - {*PARTS}:
        there = [part for part in PARTS if part in parts.values()]
        raise RecipeError(f"only={','.join(sorted(unknown))}: expected {', '.join(there)}")
    chosen = [file for file in parts if parts[file] in wanted]
    if not chosen:
        names = ", ".join(file.name for file in files) or "nothing"
        raise RecipeError(f"only={only}: the record has no such part; it holds {names}")
    for file in files:
        taken = parts[file] if file in chosen else "not taken"
        logger.info("%8.3f GB  %-10s %s", file.size / 1e9, taken, file.name)
    return sorted(chosen, key=lambda file: (PARTS.index(parts[file]), file.name))


def contents_of(file: RecordFile, archives: Path) -> Path:
    """Return the list of the files that an archive gave, which is there once it is unpacked."""
    return archives / f"{file.name}.{file.checksum[-8:]}.json"


def check_room(missing: list[RecordFile], n_files: int, archives: Path) -> None:
    """Stop before a download that the disk has no room for."""
    places = [place for f in missing for place in (archives / f.name, partial_file(f, archives))]
    to_come = sum(f.size for f in missing) - sum(p.stat().st_size for p in places if p.is_file())
    needed = to_come + UNPACKED * sum(f.size for f in missing if f.name.endswith(SUFFIXES))
    n_done = n_files - len(missing)
    logger.info("%d of %d files are done; %.2f GB to download", n_done, n_files, to_come / 1e9)
    if lack := lacking_room(archives, needed, "the downloads and what they unpack to"):
        raise RecipeError(
            f"{lack}; make room, give another path.root, or download a part with only=test,labels"
        )


def folder_of(corpus: Corpus, part: str, root: Path) -> Path:
    """Return the folder of a part: archives that are read apart have the same names inside."""
    together = len(set(corpus.data_keys.values())) == 1
    return root / (corpus.release if together else f"{corpus.release}_{part}")


def put_in_place(file: RecordFile, archives: Path, root: Path, folder: Path) -> None:
    """Unpack an archive to where prepare_data.py looks, and list the files that it gave."""
    rank = PARTS.index(part_named(file.name))
    # A downloaded list of labels ends in .json as well, but has no checksum in its name.
    contents = [
        read_json(path, dict)
        for path in archives.glob("*.json")
        if re.search(r"\.[0-9a-f]{8}(\.moving)?\.json$", path.name)
    ]
    ours = {root / name: PARTS.index(one["part"]) for one in contents for name in one["files"]}
    moving = contents_of(file, archives).with_suffix(".moving.json")

    def list_files(names: list[str]) -> None:
        """List them before they are moved, so that after a kill the next run knows them as ours."""
        below_root = [(folder / name).relative_to(root).as_posix() for name in names]
        write_json(moving, {"part": PARTS[rank], "files": below_root})

    if file.name.lower().endswith(SUFFIXES):
        logger.info("Unpacking %s", file.name)
        with unpacked(archives / file.name, root) as source:
            outermost = source / folder.name
            if outermost.is_dir() and not (source / "metadata").is_dir():
                source = outermost
            # What is not ours stays, and what a later archive of the same release gave.
            moved = files_to_move(source, folder, lambda path: ours.get(path, len(PARTS)) > rank)
            list_files(moved)
            move(moved, source, folder)
    else:
        moved = [file.name]
        list_files(moved)
        if not (folder / file.name).is_file():
            with atomic_path(folder / file.name) as part:
                shutil.copyfile(archives / file.name, part)
    moving.replace(contents_of(file, archives))
    logger.info("%s: %d files in %s", file.name, len(moved), folder)


def report_readiness(cfg: DictConfig, root: Path, label_files: list[RecordFile]) -> None:
    """Let prepare_data.py report what is ready, and what a later stage will lack."""
    corpus = corpus_of(cfg)
    words = [f"corpus={corpus.name}", f"path.root='{root}'", "check_only=true"]
    words.append(f"path.exp_folder='{cfg.path.exp_folder}'")
    for part, key in corpus.data_keys.items():
        if len(set(corpus.data_keys.values())) > 1 and not folder_of(corpus, part, root).is_dir():
            words.append(f"path.{key}=null")
    if (folder := folder_of_labels(root, label_files)) is not None:
        words.append(f"path.test_responses='{folder}'")
        logger.info("The labels are in %s: give path.test_responses to the later stages", folder)
    logger.info("python prepare_data.py %s", " ".join(words))
    checked = subprocess.run([sys.executable, RECIPE / "prepare_data.py", *words], check=False)
    if checked.returncode:
        logger.warning("Downloaded and unpacked. Above is what prepare_data.py found lacking")


def folder_of_labels(root: Path, label_files: list[RecordFile]) -> Path | None:
    """Return the folder of the labels; None where prepare_data.py finds them by itself."""
    for file in label_files:
        names = read_json(contents_of(file, root / "archives"), dict)["files"]
        folders = sorted({(root / name).parent for name in names if LABELS.search(name)})
        if not folders:
            logger.warning("%s: no file like CPC1.test.json in it", file.name)
        elif folders[0].name not in ("clarity_data", "metadata"):
            return folders[0]
    return None


def with_lists(words: list[str]) -> list[str]:
    """Write only=test,labels as the list that it is here: Hydra takes a comma for a sweep."""
    return [re.sub(r"^only=(\w+(?:,\w+)+)$", r"only=[\1]", word) for word in words]


if __name__ == "__main__":
    sys.argv = with_lists(sys.argv)
    run()
