"""The requirement files name what the code imports, and nothing else."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator

from tests.conftest import RECIPE

OURS = {"intelligibility", "reconstruction", "msbg", "demo", "tests", "benchmarks"}
# Where the package's name is not the module's.
MODULE_OF = {"hydra-core": "hydra", "pyclarity": "clarity", "pyyaml": "yaml"}
# Not imported by name: plug-ins, commands and what they read, what runs a notebook.
UNSEEN = {"pytest-xdist", "ruff", "hydra-submitit-launcher", "ipykernel", "mypy", "pandas-stubs"}
UNSEEN |= {"types-PyYAML", "types-requests", "types-tqdm"}
# For parts of the recipe that are on their way.
COMING: set[str] = set()
OPTIONAL = ("requirements-hub.txt", "requirements-baselines.txt")


def names_in(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that a file imports, also by `pytest.importorskip`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip":
            yield node.args[0].value


def imported(*patterns: str) -> set[str]:
    """Return the outermost modules that these files of ours import, less Python's own."""
    modules = set()
    for pattern in patterns:
        for path in RECIPE.glob(pattern):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            modules |= {name.split(".")[0] for name in names_in(tree)}
    local = {path.stem for path in RECIPE.glob("*.py")}
    return modules - OURS - local - set(sys.stdlib_module_names)


def required(*names: str) -> dict[str, str]:
    """Return the packages that requirement files name themselves, with their versions."""
    lines = [line for name in names for line in (RECIPE / name).read_text().splitlines()]
    pins = (re.fullmatch(r"([\w-]+)==([\w.]+)", line) for line in lines if line[:1] not in "#-")
    return {pin[1]: pin[2] for pin in pins}


def modules(*names: str) -> set[str]:
    packages = required(*names)
    return {MODULE_OF.get(name, name.replace("-", "_")) for name in packages if name not in UNSEEN}


def test_the_recipe_needs_what_it_imports():
    rooms = ("intelligibility", "reconstruction", "msbg")
    recipe = imported("*.py", *(f"{room}/**/*.py" for room in rooms))
    named = modules("requirements.txt")
    assert named - COMING <= recipe - modules(*OPTIONAL) <= named


def test_what_is_optional_is_imported_somewhere():
    found = imported("*.py", "intelligibility/**/*.py", "benchmarks/*.py")
    assert modules(*OPTIONAL) - COMING <= found


def test_the_demo_needs_one_package_more():
    more = imported("demo/*.py") - modules("requirements.txt")
    assert modules("requirements-demo.txt") == more


def test_the_tests_need_what_they_import():
    known = modules("requirements.txt", "requirements-demo.txt", *OPTIONAL)
    more = imported("tests/**/*.py") - known
    named = modules("requirements-test.txt")
    local = {path.stem for path in RECIPE.glob("tests/**/*.py")}
    through = {"submitit"}  # comes with Hydra's launcher
    assert named - COMING <= more <= named | local | through


def test_no_package_is_named_twice():
    names = [path.name for path in RECIPE.glob("requirements*.txt")]
    packages = [package for name in names for package in required(name)]
    assert packages and len(packages) == len(set(packages))


def test_msbg_needs_what_it_imports():
    project = tomllib.loads((RECIPE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert named == imported("msbg/*.py") == {"numpy", "scipy", "numba"}
