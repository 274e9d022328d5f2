"""The README, the pages in docs/ and the configuration say what there is."""

import importlib
import re

import pytest
import yaml

from intelligibility.command_line import EVERY_SCRIPT
from tests.conftest import RECIPE

README = (RECIPE / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (*(RECIPE / "docs").glob("*.md"), RECIPE / "CONTRIBUTING.md")
}
SECTIONS = (
    "Two commands",
    "The stages",
    "Your own hearing aids",
    "How to read your numbers",
    "What is the same as the published code, and what is not",
    "Map",
    "Cite",
)
FILE = r"(?<![\w/.-])((?:benchmarks|docs|demo|reconstruction)/\w+\.\w+|\w+\.py|LICENSE)\b"
MODULE = r"python -m ([\w.]+)"


def test_it_serves_a_newcomer_in_this_order():
    assert len(README.splitlines()) <= 180
    assert tuple(re.findall(r"^## (.*)$", README, flags=re.M)) == SECTIONS


def test_its_example_on_own_recordings_takes_what_the_demo_leaves():
    makefile = (RECIPE / "Makefile").read_text(encoding="utf-8")
    (own,) = re.findall(r"^OWN := (.*)$", makefile, flags=re.M)
    wavs = re.findall(r"=(demo/\S+\.wav)", README)
    assert len(wavs) == 2
    assert all(f"={wav}" in makefile.replace("$(OWN)", own) for wav in wavs)


def keys_of(name: str) -> list[tuple[str, str]]:
    """Return each key of a YAML file, those in a group indented, and what the file says of it."""
    text = (RECIPE / name).read_text(encoding="utf-8").split("\nhydra:")[0]
    found = re.findall(r"^( *[a-zA-Z]\w*):(?:.*?# (.*)|.*)$", text, flags=re.M)
    return [(key, said) for key, said in found if key != "defaults"]


@pytest.mark.parametrize("name", ["config.yaml", "score.yaml", "reconstruction/config.yaml"])
def test_every_key_of_the_configuration_says_what_it_means(name):
    keys = keys_of(name)
    assert len(keys) >= 17
    assert [key for key, said in keys if not said] in ([], ["  cpc1_test_data"])


def test_the_configuration_names_the_scripts_that_read_each_key():
    names = [*(path.stem for path in RECIPE.glob("*.py")), "reconstruction.reconstruct"]
    modules = {name.rpartition(".")[2]: importlib.import_module(name) for name in names}
    reads = {name: set(module.READS) for name, module in modules.items()}
    assert len(reads) == 9
    said = {
        key: set(re.split(r", ", text[1:].split("]")[0]))
        for key, text in keys_of("config.yaml")
        if not key.startswith(" ")
    }
    for script, name in (("score", "score.yaml"), ("reconstruct", "reconstruction/config.yaml")):
        said |= {key: {script} for key, _ in keys_of(name) if not key.startswith(" ")}
    expected = {key: {"every script"} for key in EVERY_SCRIPT if key != "hydra"}
    for key in set().union(*reads.values()):
        expected[key] = {name for name, keys in reads.items() if key in keys}
    assert said == expected


def test_every_file_that_is_named_is_there():
    for name, page in {"README.md": README, **PAGES}.items():
        found = set(re.findall(FILE, page))
        folders = (RECIPE, RECIPE / "intelligibility", RECIPE / "demo")
        missing = [one for one in found if not any((f / one).is_file() for f in folders)]
        missing += [
            module
            for module in re.findall(MODULE, page)
            if module.split(".")[0] in ("benchmarks", "demo", "docs")
            and not (RECIPE / module.replace(".", "/")).with_suffix(".py").is_file()
        ]
        assert missing == [], name
    assert len(PAGES) >= 4


def test_the_map_has_a_line_for_every_module():
    named = re.findall(r"^\| `([\w/]+\.py)` \| .", PAGES["map.md"], flags=re.M)
    folders = ("intelligibility", "reconstruction", "msbg", "demo", "benchmarks")
    modules = {path for folder in folders for path in (RECIPE / folder).rglob("*.py")}
    modules = {path for path in modules if path.name != "__init__.py"} | {*RECIPE.glob("*.py")}
    assert sorted(RECIPE / name for name in named) == sorted(modules)


def test_the_code_names_every_equation_of_the_method():
    numbered = re.findall(r"\\tag\{(\d+)\}", PAGES["method.md"])
    assert numbered == ["4", "5", "6", "7"]  # as in the paper
    named = set()
    for name in ("train_asr.py", "intelligibility/similarity.py"):
        code = (RECIPE / name).read_text(encoding="utf-8")
        named.update(re.findall(r"\beqs?\.? (\d+)", code))
    assert named == set(numbered)


def test_every_link_leads_somewhere():
    folders = ("", "docs", "reconstruction")
    for path in (path for folder in folders for path in (RECIPE / folder).glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            there = target.startswith("https://") or (path.parent / target).is_file()
            assert there, (path.name, target)


def test_its_commands_are_in_the_makefile():
    makefile = (RECIPE / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^    make ([\w-]+)", README, flags=re.M)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M)


def test_the_keys_that_its_commands_give_are_in_the_configuration():
    names = ("config.yaml", "score.yaml", "reconstruction/config.yaml")
    config = {key.strip() for name in names for key, _ in keys_of(name)}
    commands = re.findall(
        r"^ +python [\w/]+\.py (.*)$", "\n".join([README, *PAGES.values()]), flags=re.M
    )
    given = re.findall(r"(?<!\S)'?(\w+)[.=]", " ".join(one.split("#")[0] for one in commands))
    assert given and set(given) <= config | {"hydra", "transformer_cpc1", "data_folder"}


def test_the_citation_is_the_readmes():
    citation = yaml.safe_load((RECIPE / "CITATION.cff").read_text(encoding="utf-8"))
    paper = citation["preferred-citation"]
    assert {author["family-names"] for author in paper["authors"]} == {"Tu", "Ma", "Barker"}
    assert all(author["family-names"] in README for author in paper["authors"])
    assert str(paper["year"]) in README and paper["url"] in README
