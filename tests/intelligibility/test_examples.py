"""The examples in docstrings give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

from intelligibility.runs import RECIPE

WITH_EXAMPLES = sorted(
    path.relative_to(RECIPE)
    for package in ("intelligibility", "msbg")
    for path in (RECIPE / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def test_what_people_call_has_an_example():
    assert Path("intelligibility/similarity.py") in WITH_EXAMPLES
    assert Path("intelligibility/evaluation/scoring.py") in WITH_EXAMPLES


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_examples_give_what_they_say(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts))
    failed, tried = doctest.testmod(module)
    assert tried > 0 and not failed
