"""What surrounds the library: lock, environment.yml, Makefile, citation, paths, the cost of importing it."""

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import amtgan_lib
from amtgan_lib import datasets, paths, recognizers
from amtgan_lib.pipeline import presets

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
UNLOCKED = ("dlib", "services")
"""Extras that are neither in `all` nor in the lock, each for its reason in pyproject.toml."""
LOCKED = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines()]
TARGETS = ["help", "setup", "test", "test-all", "lint", "reproduce", "leave-one-out", "lab", "demo", "bench"]
TARGETS += ["results", "measured", "gpu-pack", "lock", "clean"]

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def named_dependencies() -> list[Requirement]:
    """Every requirement of pyproject.toml, extras included, the project's own name left out."""
    lines = PROJECT["dependencies"] + [line for extra in EXTRAS.values() for line in extra]
    return [r for r in map(Requirement, lines) if canonicalize_name(r.name) != PROJECT["name"]]


def make(*arguments: str, **environment: str | None) -> subprocess.CompletedProcess:
    """Run make in the checkout; an environment value of None removes the variable."""
    merged = {k: v for k, v in {**os.environ, **environment}.items() if v is not None and not k.startswith("MAKE")}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=merged, capture_output=True, text=True, timeout=60)


# environment.yml and requirements.lock


def test_environment_yml_asks_for_what_pyproject_asks_for():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (python,) = [entry for entry in entries if isinstance(entry, str) and entry.startswith("python")]
    assert SpecifierSet(python.removeprefix("python").strip()) == SpecifierSet(PROJECT["requires-python"])
    assert [entry for entry in entries if isinstance(entry, dict)] == [{"pip": ["-e .[all]"]}]
    assert "pip" in entries


def test_extra_all_is_every_other_extra_but_the_130_megabytes_of_dlib_and_what_is_of_no_use_without_keys():
    (everything,) = map(Requirement, EXTRAS["all"])
    assert everything.extras == set(EXTRAS) - {"all", *UNLOCKED}


def test_bounds_are_lower_bounds_but_for_mediapipe_and_av():
    """mediapipe is one release, av one major version (the next is for newer Pythons only and drops an argument)."""
    bounds = {r.name: {s.operator for s in r.specifier} for r in named_dependencies()}
    assert bounds.pop("mediapipe") == {"=="}
    assert bounds.pop("av") == {">=", "<"}
    assert set().union(*bounds.values()) == {">="}


def test_lock_has_exact_versions_and_no_addresses():
    assert [r for r in LOCKED if r.url or [s.operator for s in r.specifier] != ["=="]] == []
    assert PROJECT["name"] not in {canonicalize_name(r.name) for r in LOCKED}


@pytest.mark.parametrize("python", ["3.11.0", "3.11.9", "3.12.0"])
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_lock_covers_every_dependency_but_those_of_unlocked_extras(python, system):
    marker = {"python_full_version": python, "python_version": python.rsplit(".", 1)[0], "sys_platform": system}
    locked = {}
    for requirement in LOCKED:
        if requirement.marker is None or requirement.marker.evaluate(marker):
            assert requirement.name not in locked, f"{requirement.name} is locked twice for Python {python}"
            locked[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version
    missing = [
        str(r)
        for r in named_dependencies()
        if not any(str(r) in EXTRAS[extra] for extra in UNLOCKED)
        and not r.specifier.contains(locked.get(canonicalize_name(r.name), "0"), prereleases=True)
    ]
    assert missing == [], "run `make lock`"


# Declared, and imported by no file of ours.
NOT_IMPORTED = {
    "jupyterlab": "make lab",
    "voila": "make demo",
    "torchvision": "lpips and timm build their networks with it, and its release has to fit torch's",
    "nbstripout": "its command keeps notebooks free of outputs",
    "ruff": "make lint",
    "mypy": "make lint",
    "pytest-timeout": "an option of pytest",
    "pytest-xdist": "an option of pytest",
    "dlib-bin": "it does not say that its module is called dlib",
    "face-recognition-models": "only its files are read",
    "boto3": "of an extra that is not installed, so that nobody says which modules it has",
    "alibabacloud-facebody20191230": "the same",
    "azure-ai-vision-face": "the same",
}


def test_every_declared_dependency_is_imported():
    folders = ("amtgan_lib", "notebooks", "tests", "benchmarks")
    files = [path for folder in folders for end in ("py", "ipynb") for path in (ROOT / folder).rglob(f"*.{end}")]
    texts = [path.read_text(encoding="utf-8") for path in [*files, ROOT / "setup.py"]]
    # In notebooks each line stands in quotation marks.
    imported = {name for text in texts for name in re.findall(r'^[\s"]*(?:import|from) (\w+)', text, re.MULTILINE)}
    providers = metadata.packages_distributions()  # a second a call
    used = {canonicalize_name(each) for name in imported for each in providers.get(name, [])}
    declared = {canonicalize_name(r.name) for r in named_dependencies()}
    assert declared - used <= set(NOT_IMPORTED) <= declared


# What ipykernel and papermill are made of, in the releases that fit them.
PARTS_OF_JUPYTER = {"IPython", "jupyter_client", "jupyter_core", "nbclient"}


def test_whatever_the_library_imports_is_declared():
    nodes = [node for file in (ROOT / "amtgan_lib").rglob("*.py") for node in ast.walk(ast.parse(file.read_text()))]
    dotted = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    dotted += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    providers = metadata.packages_distributions()
    names = {name.partition(".")[0] for name in dotted} - sys.stdlib_module_names
    used = {name: {canonicalize_name(each) for each in providers[name]} for name in names if name in providers}
    declared = {canonicalize_name(r.name) for r in named_dependencies()}
    strange = {name for name, packages in used.items() if not packages & declared}
    assert strange - {"amtgan_lib"} == PARTS_OF_JUPYTER


# Makefile, .ci/run, CITATION.cff


@needs_make
def test_make_alone_lists_every_target():
    listed = re.findall(r"^make (\S+)", make().stdout, flags=re.MULTILINE)
    assert listed == TARGETS


@needs_make
def test_every_target_has_commands_to_run():
    run = make("-n", *TARGETS)
    assert run.returncode == 0, run.stderr


@needs_make
def test_reproduce_takes_the_preset():
    assert "-m amtgan_lib pipeline --preset procedural" in make("-n", "reproduce", PRESET=None).stdout
    assert "-m amtgan_lib pipeline --preset paper" in make("-n", "reproduce", "PRESET=paper").stdout


@needs_make
@pytest.mark.parametrize(
    ("beside", "value", "expected"),
    [
        (True, None, "{checkout}/../shared/assets"),
        (False, None, ""),
        (True, "/elsewhere", "/elsewhere"),
        (True, "", ""),
    ],
)
def test_make_names_the_mirror_beside_the_checkout_only_when_unset(tmp_path, beside, value, expected):
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    if beside:
        (tmp_path / "shared" / "assets").mkdir(parents=True)
    reveal = ["--no-print-directory", "--eval", "reveal: ; @echo [$$AMTGAN_ASSET_MIRROR]", "reveal"]
    run = make("-C", str(checkout), "-f", str(ROOT / "Makefile"), *reveal, AMTGAN_ASSET_MIRROR=value)
    assert run.stdout.strip() == f"[{expected.format(checkout=checkout)}]", run.stderr


def fake_interpreters(folder: Path, **scripts: str) -> str:
    """Write shell scripts under the interpreters' names; return a PATH that finds them first."""
    for name, script in scripts.items():
        path = folder / name.replace("_", ".")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@needs_make
def test_make_passes_over_interpreters_that_do_not_run(tmp_path):
    copy = shutil.copy(ROOT / "setup_environment.sh", tmp_path)
    fakes = {
        "python3_12": "exit 127",
        "python3_11": 'echo "chosen: python3.11" >&2',
        "python3": "echo wrong >&2; exit 1",
    }
    path = fake_interpreters(tmp_path, **fakes)
    run = make("-C", str(Path(copy).parent), "-f", str(ROOT / "Makefile"), "setup", PATH=path, PYTHON=None)
    assert "chosen: python3.11" in run.stderr
    assert "wrong" not in run.stderr


@needs_make
@pytest.mark.parametrize("chosen", ["", "{folder}/no such python"])
def test_make_says_in_one_sentence_that_no_interpreter_fits(tmp_path, chosen):
    shutil.copy(ROOT / "setup_environment.sh", tmp_path)
    path = fake_interpreters(tmp_path, **dict.fromkeys(["python3_12", "python3_11", "python3"], "exit 1"))
    given = f"PYTHON={chosen.format(folder=tmp_path)}"
    run = make("--no-print-directory", "-C", str(tmp_path), "-f", str(ROOT / "Makefile"), "setup", given, PATH=path)
    said = [line for line in run.stderr.splitlines() if not line.startswith("make")]
    assert run.returncode != 0
    assert run.stdout == ""
    assert len(said) == 1
    assert said[0].startswith("AMT-GAN needs a Python 3.11 or 3.12")


@needs_make
@pytest.mark.parametrize(("value", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_make_lets_waiting_threads_sleep_unless_told_otherwise(value, expected):
    run = make("--eval", "reveal: ; @echo [$$OMP_WAIT_POLICY]", "reveal", OMP_WAIT_POLICY=value)
    assert f"[{expected}]" in run.stdout


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    lines = script.read_text().splitlines()
    assert script.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in lines
    assert any(line.startswith("make test") for line in lines)


def test_citation_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    paper = citation["preferred-citation"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == amtgan_lib.__version__
    assert [author["family-names"] for author in paper["authors"]] == ["Hu", "Liu", "Zhang", "Li", "Zhang", "Jin", "Wu"]
    assert paper["identifiers"][0]["value"] == "arXiv:2203.03121"


# paths and the package itself


def in_new_interpreter(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter that sees this checkout only; return what it prints."""
    merged = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    run = subprocess.run([sys.executable, "-c", code], env=merged, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_paths_lie_in_the_checkout():
    folders = {name: value for name, value in vars(paths).items() if name.isupper() and isinstance(value, Path)}
    assert folders.pop("ROOT") == ROOT
    folders.pop("CACHE")
    assert all(folder.is_relative_to(ROOT) for folder in folders.values())


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AMTGAN_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"AMTGAN_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/amtgan"),
        ({"AMTGAN_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/amtgan"),
        ({"AMTGAN_CACHE": "~/c", "HOME": "/h"}, "/h/c"),
    ],
)
def test_cache_folder(variables, expected):
    assert in_new_interpreter("from amtgan_lib import paths; print(paths.CACHE)", **variables) == expected


def test_importing_paths_creates_nothing(tmp_path):
    in_new_interpreter("import amtgan_lib.paths", AMTGAN_CACHE=str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, amtgan_lib, amtgan_lib.paths; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    assert in_new_interpreter(code) == "set()"


def test_protect_is_loaded_on_first_use(monkeypatch):
    stand_in = type(sys)("amtgan_lib.protection")
    stand_in.protect = object()
    monkeypatch.setitem(sys.modules, "amtgan_lib.protection", stand_in)
    assert amtgan_lib.protect is stand_in.protect
    with pytest.raises(AttributeError, match="no attribute 'protekt'"):
        _ = amtgan_lib.protekt


def test_version_is_pyprojects():
    assert amtgan_lib.__version__ == PROJECT["version"]


# The wheel

READ = (
    "notebooks/*.ipynb",
    "presets/*.yaml",
    "data/protocols/*.json",
    "results/measured/*.csv",
    "results/published/*.csv",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of this checkout, built in a copy, since a build leaves folders behind."""
    copy = tmp_path_factory.mktemp("wheel") / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "runs", "raw", "prepared", ".ipynb_checkpoints")
    for name in ("amtgan_lib", "notebooks", "presets", "data", "results"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", "."]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    (built,) = (copy / "dist").iterdir()
    return built


def test_wheel_holds_all_that_the_package_reads(wheel):
    library = {path for path in (ROOT / "amtgan_lib").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    read = {f"amtgan_lib/shipped/{path.relative_to(ROOT)}" for pattern in READ for path in ROOT.glob(pattern)}
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert "amtgan_lib/py.typed" in names
    assert len(read) > 30
    assert names == read | {str(path.relative_to(ROOT)) for path in library}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment with the wheel and this one's packages, but without the checkout."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=300)
    (site,) = folder.glob("lib/python*/site-packages")
    # A folder named in a .pth file is searched, and its own .pth files, which name the checkout, are not read.
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    zipfile.ZipFile(wheel).extractall(site)
    return folder / "bin" / "python"


def run_installed(python: Path, folder: Path, *arguments: str, statuses: tuple[int, ...] = (0,)) -> str:
    """Run the installed package from another folder, for a user whose home is that folder."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AMTGAN_HOME")}
    own |= {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([python, *arguments], cwd=folder, env=own, capture_output=True, text=True, timeout=500)
    assert run.returncode in statuses, run.stderr
    return run.stdout


def contents(python: Path) -> set[Path]:
    return set(python.parents[1].rglob("*"))


def test_installed_package_reads_its_own_files_and_writes_to_the_users_folder(installed, tmp_path):
    code = (
        "from amtgan_lib import paths; from amtgan_lib.pipeline import presets\n"
        "from amtgan_lib.reporting import results\n"
        "print(paths.RUNS, paths.RAW, results.commit(), sep='\\n')\n"
        "print(len(presets.plan(presets.load('procedural'), {})), (paths.MEASURED / 'thresholds.csv').is_file())"
    )
    runs, raw, commit, read = run_installed(installed, tmp_path, "-c", code).splitlines()
    assert runs == str(tmp_path / "amtgan" / "results" / "runs")
    assert raw == str(tmp_path / "amtgan" / "data" / "raw")
    assert commit == "no git"
    assert read == f"{len(presets.plan(presets.load('procedural'), {}))} True"


@pytest.mark.slow
def test_installed_package_protects_a_photo_and_runs_the_quickstart(installed, tmp_path, mirror):
    """With the mirror: the open recognisers are asked."""
    before = contents(installed)
    name = datasets.test_pairs(datasets.manifest_of("drawn")).source[0]
    shutil.copy(datasets.files([name])[name], tmp_path / "me.png")
    protect = ("-m", "amtgan_lib", "protect", "me.png", "--report", "--keep-recognised")
    said = run_installed(installed, tmp_path, *protect, statuses=(0, 1))  # 1: it is written, and still recognised
    assert (tmp_path / "me_protected.png").is_file()
    assert str(recognizers.spec("edgeface_xs").calibration) in said
    run_installed(installed, tmp_path, "-m", "amtgan_lib", "pipeline", "--preset", "quickstart", "--run-id", "try")
    assert (tmp_path / "amtgan" / "results" / "runs" / "try" / "quickstart" / "protected.png").is_file()
    assert contents(installed) == before
