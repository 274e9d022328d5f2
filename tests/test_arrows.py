"""Who may import whom. Every import counts, within functions too."""

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import RECIPE

OURS = {"intelligibility", "reconstruction", "demo"}
SCRIPTS = {*(path.stem for path in RECIPE.glob("*.py")), "reconstruction.reconstruct"}
# The files of a room, and the modules that they have no business with.
FORBIDDEN = [
    ("*.py", {"reconstruction", "tests", "benchmarks", *SCRIPTS}),
    ("msbg/**/*.py", {*OURS, "tests", "benchmarks", *SCRIPTS}),
    ("demo/**/*.py", {"reconstruction", "tests", "benchmarks", *SCRIPTS}),
    ("intelligibility/**/*.py", {"reconstruction", "demo", "tests", "benchmarks", *SCRIPTS}),
    ("reconstruction/*.py", {"demo", "tests", "benchmarks", *SCRIPTS}),
    ("intelligibility/recognisers/*.py", {"intelligibility.corpora"}),
    ("intelligibility/corpora/*.py", {"intelligibility.recognisers"}),
    ("intelligibility/training/*.py", {"intelligibility.corpora", "intelligibility.evaluation"}),
    ("benchmarks/**/*.py", {"tests"}),
]


def imported(pattern: str) -> Iterator[tuple[str, str]]:
    """Return the files that match and, one by one, the modules that each imports."""
    for path in RECIPE.glob(pattern):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((str(path.relative_to(RECIPE)), name) for name in names)


@pytest.mark.parametrize(("pattern", "forbidden"), FORBIDDEN, ids=[one[0] for one in FORBIDDEN])
def test_no_room_imports_what_it_has_no_business_with(pattern, forbidden):
    found = list(imported(pattern))
    assert found
    assert not [
        (file, module)
        for file, module in found
        if any(f"{module}.".startswith(f"{name}.") for name in forbidden)
    ]
