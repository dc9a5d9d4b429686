"""What people wait for on their own machine: commands from a cold start and trainings, also beside a busy program."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from amtgan_lib import hints, paths, pipeline, recognizers
from amtgan_lib.demos import session
from amtgan_lib.pipeline import estimate, presets, runs
from amtgan_lib.training import pace
from benchmarks.bench import Bench, in_a_process, pair

ANSWERS = (0, 1, 3)  # protected, still recognised, not confirmed: each has done the whole work
STEP = """
import json, sys
from amtgan_lib.training import pace
print('measured', pace.measured(json.loads(sys.argv[1]), steps=6)['seconds'])
"""


def drawn_photo(file: Path, size: tuple[int, int]) -> Path:
    """A drawn portrait on a plain wall, as a JPEG of ``size`` (width, height)."""
    picture = Image.new("RGB", size, (90, 100, 110))
    with Image.open(session.people()[0].large()) as portrait:
        square = portrait.convert("RGB").resize((size[1], size[1]))
    picture.paste(square, ((size[0] - size[1]) // 2, 0))
    picture.save(file, quality=92)
    return file


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """One core of this machine is taken by a program that never waits."""
    spin = "import os\nif hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\n"
    with subprocess.Popen([sys.executable, "-c", spin + "while True: pass"]) as neighbour:
        try:
            yield
        finally:
            neighbour.kill()


def command(*arguments: str) -> float:
    """Wall seconds of the command line, offline: with shipped files only."""
    with tempfile.TemporaryDirectory() as empty:
        alone = {**os.environ, "AMTGAN_ASSET_MIRROR": "", "AMTGAN_CACHE": empty}
        began = time.perf_counter()
        call = [sys.executable, "-m", "amtgan_lib", *arguments]
        done = subprocess.run(call, capture_output=True, text=True, env=alone)
        if done.returncode not in ANSWERS:
            raise SystemExit(done.stderr)
        return time.perf_counter() - began


def trainings() -> dict[str, dict]:
    """The trainings of the default run: name of the step, parameters."""
    steps = presets.plan(pipeline.load("procedural"))
    return {step.name: step.values for step in steps if step.notebook.name == estimate.TRAINING}


def paces(bench: Bench) -> None:
    """Seconds of a step of each training of the default run, in the precision that ``auto`` takes."""
    for name, given in trainings().items():
        found = pace.measured(given, steps=6)
        bench.note("run, procedural", name, estimate.STEP, found["seconds"], 5)


def protecting(bench: Bench) -> None:
    """`protect` of 2 megapixels, offline, and both kinds of step of the default run: idle, and beside a busy core."""
    with tempfile.TemporaryDirectory() as folder:
        photo = drawn_photo(Path(folder) / "before.jpg", (1600, 1200))
        keep = ("-o", str(Path(folder) / "after.png"), "--keep-recognised", "--overwrite")
        works = {"protect, 2 MP, from the command line, offline": lambda: command("protect", str(photo), *keep)}
        for name, given in trainings().items():
            if not name.endswith("published"):
                words = json.dumps(given)
                works[f"{name}, a step"] = lambda words=words: in_a_process(STEP, words)[0]
        for what, work in works.items():
            work()  # writes bytecode
            idle, busy = [], []
            for _ in range(3):
                idle.append(work())
                with busy_core():
                    busy.append(work())
            bench.note(what, "idle", "seconds", statistics.median(idle), 3)
            bench.note(what, "beside a busy core", "seconds", statistics.median(busy), 3)
            bench.note(what, "beside a busy core", "times idle", statistics.median(busy) / statistics.median(idle), 3)


def hinting(bench: Bench) -> None:
    """Gradient hints of a face by each recogniser at hand: what a pass of ``protect`` asks for."""
    both, works = pair(128, bench.device), {}
    for name in recognizers.at_hand((*recognizers.OWN, *recognizers.OPEN)):
        network = recognizers.load(name, bench.device)
        with torch.no_grad():
            towards = network.embed(both.image[1:], both.points[1:])[0]
        works[name] = lambda network=network, towards=towards: hints.gradient_hints(
            both.image[:1], both.points[:1], [network], [towards]
        )
    for name, seconds in bench.seconds(works).items():
        bench.note("hints for a face, 128 px", name, "seconds", seconds, bench.repeats)


def latest_run(bench: Bench) -> None:
    """What the notebooks of the latest run took, as it recorded them."""
    state = runs.read(paths.RUNS / "latest")
    if state.get("status") != "done":
        raise SystemExit("the latest run is not done: run `make reproduce` first")
    done = {name: record["seconds"] for name, record in state["notebooks"].items() if record["status"] == "done"}
    for name, seconds in done.items():
        bench.note(f"run, {state['preset']}", name, "seconds", seconds)
    bench.note(f"run, {state['preset']}", "all", "seconds", sum(done.values()))
