"""Fixtures that every test file may use: the folders beside the checkout, a fixed seed. One thread for each process."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import fakes
import hypothesis
import numpy as np
import pytest
import torch
from torch import Tensor

# Tests run side by side on all cores, and kernels and commands that they start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
# Dozens of processes import the same modules: compiled once, as Python does unless it is told not to.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
torch.set_num_threads(1)
# A shell that runs pytest in the background has it ignore Ctrl-C, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"
GOLDEN = Path(os.environ.get("AMTGAN_GOLDEN", SHARED / "golden"))


def mirror_folder() -> Path | None:
    """Return the asset mirror: AMTGAN_ASSET_MIRROR (set but empty means none), else the one beside the checkout."""
    named = os.environ.get("AMTGAN_ASSET_MIRROR")
    if named is not None:
        return Path(named) if named and Path(named).is_dir() else None
    return SHARED / "assets" if (SHARED / "assets").is_dir() else None


# The files that take longest, longest first: with `--dist=loadscope` a worker takes whole files in this order, so that
# each file's fixtures are made once and no worker is left with a long one when the others are done.
LONG = ("notebooks_run", "browser", "training", "commands", "widgets", "weights", "sweeps", "distributed", "portraits")
LONG += ("natural", "recognizer_training", "recognizers", "models", "studio", "distillation", "faces", "video")
LONG += ("finding", "pipeline", "explorer", "killed", "determinism", "benchmarks", "estimate", "authors", "main")
LONG += ("figures", "packaging", "drawn_world", "fail_closed", "hostile", "targets", "readme", "small_recognizers")


# How many examples Hypothesis draws: always the same few without the slow tests, others each time with them.
hypothesis.settings.register_profile("quick", max_examples=15, deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", max_examples=400, deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the examples by the tests that are asked for."""
    hypothesis.settings.load_profile("quick" if "not slow" in config.option.markexpr else "thorough")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_report_header() -> str:
    """Say which of the optional folders the tests found."""
    found = {"golden tensors": GOLDEN if GOLDEN.is_dir() else None, "asset mirror": mirror_folder()}
    return "; ".join(f"{name}: {folder or 'not found, their tests are skipped'}" for name, folder in found.items())


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the golden tensors, or skip."""
    if not GOLDEN.is_dir():
        pytest.skip("no golden tensors: shared/golden is not beside the checkout")
    return GOLDEN


@pytest.fixture(scope="session")
def published(golden: Path) -> dict[str, dict[str, Tensor]]:
    return fakes.state_dicts(golden)


@pytest.fixture(scope="session")
def cases(golden: Path) -> dict[str, dict[str, Tensor]]:
    return fakes.golden_cases(golden)


@pytest.fixture(scope="session")
def mirror() -> Iterator[Path]:
    """Folder of the asset mirror, named in AMTGAN_ASSET_MIRROR from here on, or skip."""
    folder = mirror_folder()
    if folder is None:
        pytest.skip("no asset mirror: AMTGAN_ASSET_MIRROR names no folder and shared/assets is not beside the checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMTGAN_ASSET_MIRROR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def seed() -> None:
    """Start each test from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def wrong_once() -> Path:
    """Folder of the photos and clips that went wrong once, or skip."""
    if not (SHARED / "cases").is_dir():
        pytest.skip("shared/cases is not beside the checkout")
    return SHARED / "cases"
