"""The README says what there is."""

import re

import pytest
import yaml

from tests.conftest import RECIPE

README = (RECIPE / "README.md").read_text(encoding="utf-8")
CONFIG = yaml.safe_load((RECIPE / "config.yaml").read_text(encoding="utf-8"))
KEYS = [
    f"{key}.{inner}" if inner else key
    for key, value in CONFIG.items()
    if key not in ("hydra", "defaults")
    for inner in (value if isinstance(value, dict) and value else [None])
]


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_in_the_table(key):
    table = README.split("## Configuration")[1].split("\n## ")[0]
    assert f"`{key}`" in table


def test_every_file_it_names_is_there():
    named = set(re.findall(r"(?<![\w/.-])((?:benchmarks|docs)/\w+\.\w+|\w+\.py|LICENSE)\b", README))
    assert {"prepare_data.py", "docs/msbg_severities.png", "benchmarks/scale.py"} <= named
    assert not [name for name in named if not (RECIPE / name).is_file()]


def test_its_commands_are_in_the_makefile():
    makefile = (RECIPE / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M)
