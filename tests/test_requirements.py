"""requirements.txt names what the code imports, and nothing else."""

import ast
import re
import sys

import pytest

from tests.conftest import RECIPE

OURS = {"intelligibility", "msbg", "demo", "tests", "benchmarks"}
MODULE_OF = {
    "hydra-core": "hydra",
    "pyyaml": "yaml",
}  # where the package's name is not the module's
# Not imported by name: plug-ins and a command.
UNSEEN = {"pytest-xdist", "ruff", "hydra-submitit-launcher"}


def imported(*patterns: str) -> set[str]:
    """Return the outermost modules that these files of ours import, less Python's own."""
    modules = set()
    for pattern in patterns:
        for path in RECIPE.glob(pattern):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    modules.add(node.module.split(".")[0])
    local = {path.stem for path in RECIPE.glob("*.py")}
    return modules - OURS - local - set(sys.stdlib_module_names)


def required(name: str) -> dict[str, str]:
    """Return the packages that one requirements file names itself, with their versions."""
    lines = (RECIPE / name).read_text().splitlines()
    pins = (re.fullmatch(r"([\w-]+)==([\w.]+)", line) for line in lines if line[:1] not in "#-")
    return {pin[1]: pin[2] for pin in pins}


def modules(packages: dict[str, str]) -> set[str]:
    return {MODULE_OF.get(name, name.replace("-", "_")) for name in packages if name not in UNSEEN}


def test_the_recipe_needs_what_it_imports():
    assert modules(required("requirements.txt")) == imported(
        "*.py", "intelligibility/*.py", "msbg/*.py"
    )


def test_the_demo_needs_one_package_more():
    more = imported("demo/*.py") - modules(required("requirements.txt"))
    assert modules(required("requirements-demo.txt")) == more


def test_the_tests_need_what_they_import():
    known = modules(required("requirements.txt")) | modules(required("requirements-demo.txt"))
    more = imported("tests/**/*.py") - known
    named = modules(required("requirements-test.txt"))
    local = {path.stem for path in RECIPE.glob("tests/**/*.py")}
    assert named <= more <= named | local


@pytest.mark.parametrize(
    ("package", "version"),
    [("torch", "2.11.0"), ("torchaudio", "2.11.0"), ("speechbrain", "1.1.2")],
)
def test_what_is_known_to_work_together_is_pinned(package, version):
    assert required("requirements.txt")[package] == version
