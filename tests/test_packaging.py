"""What surrounds the library: lock, environment.yml, Makefile, citation, paths, the cost of importing it."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import amtgan_lib
from amtgan_lib import paths

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK_LINES = (ROOT / "requirements.lock").read_text().splitlines()
TARGETS = [
    "help",
    "setup",
    "test",
    "test-all",
    "lint",
    "reproduce",
    "leave-one-out",
    "lab",
    "demo",
    "bench",
    "gpu-pack",
]
TARGETS += ["lock", "clean"]

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


def test_extra_all_is_every_other_extra():
    (everything,) = map(Requirement, EXTRAS["all"])
    assert everything.extras == set(EXTRAS) - {"all"}


def test_bounds_are_lower_bounds_but_for_mediapipe_and_av():
    """mediapipe is one release, av one major version (the next is for newer Pythons only and drops an argument)."""
    bounds = {r.name: {s.operator for s in r.specifier} for r in named_dependencies()}
    assert bounds.pop("mediapipe") == {"=="}
    assert bounds.pop("av") == {">=", "<"}
    assert set().union(*bounds.values()) == {">="}


@pytest.mark.parametrize("line", LOCK_LINES)
def test_lock_line_is_one_exact_version_without_address(line):
    requirement = Requirement(line)
    assert requirement.url is None
    assert [s.operator for s in requirement.specifier] == ["=="]
    assert canonicalize_name(requirement.name) != PROJECT["name"]


@pytest.mark.parametrize("python", ["3.11.0", "3.11.9", "3.12.0"])
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_lock_covers_every_dependency(python, system):
    marker = {"python_full_version": python, "python_version": python.rsplit(".", 1)[0], "sys_platform": system}
    locked = {}
    for requirement in map(Requirement, LOCK_LINES):
        if requirement.marker is None or requirement.marker.evaluate(marker):
            assert requirement.name not in locked, f"{requirement.name} is locked twice for Python {python}"
            locked[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version
    missing = [
        str(r)
        for r in named_dependencies()
        if not r.specifier.contains(locked.get(canonicalize_name(r.name), "0"), prereleases=True)
    ]
    assert missing == [], "run `make lock`"


# Makefile, .ci/run, CITATION.cff


@needs_make
def test_make_alone_lists_every_target():
    listed = re.findall(r"^make (\S+)", make().stdout, flags=re.MULTILINE)
    assert listed == TARGETS


@needs_make
@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target):
    run = make("-n", target)
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
    fakes = {"python3_12": "exit 127", "python3_11": 'echo "chosen: python3.11 $*"', "python3": "echo wrong"}
    run = make("setup", PATH=fake_interpreters(tmp_path, **fakes), PYTHON=None)
    assert run.stdout == "chosen: python3.11 setup_environment.py\n", run.stderr


@needs_make
def test_make_says_in_one_sentence_that_no_interpreter_fits(tmp_path):
    failing = dict.fromkeys(["python3_12", "python3_11", "python3"], "exit 1")
    run = make("setup", PATH=fake_interpreters(tmp_path, **failing), PYTHON=None)
    said = [line for line in run.stderr.splitlines() if not line.startswith("make")]
    assert run.returncode != 0
    assert run.stdout == ""
    assert len(said) == 1
    assert said[0].startswith("AMT-GAN needs Python 3.11 or 3.12")


@needs_make
def test_make_says_that_the_given_interpreter_does_not_run(tmp_path):
    run = make("setup", f"PYTHON={tmp_path}/python")
    said = [line for line in run.stderr.splitlines() if not line.startswith("make")]
    assert run.returncode != 0
    assert len(said) == 1
    assert said[0].startswith(f"PYTHON={tmp_path}/python does not run")


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    lines = script.read_text().splitlines()
    assert script.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in lines
    assert "make test" in lines


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
    folders = {name: value for name, value in vars(paths).items() if isinstance(value, Path)}
    assert folders.pop("ROOT") == ROOT
    folders.pop("CACHE")
    named = "WEIGHTS DATA RAW PREPARED MANIFESTS RESULTS RUNS FIGURES PUBLISHED MEASURED NOTEBOOKS PRESETS"
    assert " ".join(folders) == named
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


def test_importing_the_package_is_cheap():
    code = (
        "import sys, time; start = time.perf_counter(); import amtgan_lib, amtgan_lib.paths; "
        "print(time.perf_counter() - start, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    seconds, *heavy = in_new_interpreter(code).split()
    assert heavy == ["False", "False"]
    assert float(seconds) < 0.3


def test_protect_is_loaded_on_first_use(monkeypatch):
    stand_in = type(sys)("amtgan_lib.protection")
    stand_in.protect = object()
    monkeypatch.setitem(sys.modules, "amtgan_lib.protection", stand_in)
    assert amtgan_lib.protect is stand_in.protect
    with pytest.raises(AttributeError, match="no attribute 'protekt'"):
        _ = amtgan_lib.protekt


def test_version_is_pyprojects():
    assert amtgan_lib.__version__ == PROJECT["version"]


def test_notebooks_run_on_this_environments_kernel():
    from jupyter_client.manager import KernelManager

    assert KernelManager(kernel_name="python3").format_kernel_cmd()[0] == sys.executable
