"""Many runs of one preset that differ in one parameter: side by side on all cores, gathered into one table."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from amtgan_lib import paths, results
from amtgan_lib.pipeline import presets, runs
from amtgan_lib.pipeline.parameters import PresetError, Text

TABLES = ("05_black_box_success", "06_image_quality")


class SweepFailed(Exception):
    """Some runs of a sweep failed; the others are done and gathered."""


@dataclass(frozen=True)
class Sweep:
    """``parameter`` takes each of ``values``; ``fixed`` are other assignments NAME=VALUE, the same for every run."""

    preset: str
    parameter: str
    values: tuple[str, ...]
    fixed: tuple[str, ...] = ()
    sweep_id: str = "sweep"

    def __post_init__(self):
        if self.preset.endswith((".yaml", ".yml")):  # the runs start in another folder
            object.__setattr__(self, "preset", str(Path(self.preset).resolve()))

    def run_id(self, value: str) -> str:
        """The run folder of one value."""
        return f"{self.sweep_id}-{value.replace(' ', '_')}"

    def command(self, value: str, *more: str) -> list[str]:
        """The command line of one run; what it has done already with the same cells and parameters is kept."""
        assignments = [f"{self.parameter}={value}", *self.fixed]
        flags = [flag for assignment in assignments for flag in ("-p", assignment)]
        start = [sys.executable, "-m", "amtgan_lib", "pipeline", "--preset", self.preset, "--resume"]
        return [*start, "--run-id", self.run_id(value), *flags, *more]


def run(sweep: Sweep, workers: int = 0, say: Callable[[str], None] = print) -> Path:
    """Run a sweep, ``workers`` runs at a time (0: one a core), and gather its tables; returns the folder of these.

    The faces are prepared once, by the first value's run; the others wait for it. A failed run does not stop the
    others. Raises PresetError before anything runs, SweepFailed at the end.
    """
    if workers < 0:
        raise PresetError(f"--workers is {workers}: take the number of runs side by side, or 0 for one a core.")
    first, second = _check(sweep)
    cores = os.cpu_count() or 1
    workers = min(workers or cores, len(sweep.values))
    folder = runs.folder(sweep.sweep_id)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    for name in TABLES:  # those of an earlier sweep must not pass for this one's
        (folder / "tables" / f"{name}.csv").unlink(missing_ok=True)
    say(f"{len(sweep.values)} runs of {sweep.preset}, {workers} at a time; logs in {folder / 'logs'}")
    if not _one(sweep, sweep.values[0], ["--only", first], cores, folder, say):
        raise SweepFailed(f"the faces could not be prepared: see {folder / 'logs'}")
    with ThreadPoolExecutor(workers) as pool:
        job = partial(_one, sweep, more=["--from", second], threads=max(cores // workers, 1), folder=folder, say=say)
        finished = [value for value, good in zip(sweep.values, pool.map(job, sweep.values)) if good]
    gather(sweep, finished, folder)
    if failed := [value for value in sweep.values if value not in finished]:
        raise SweepFailed(f"{len(failed)} of {len(sweep.values)} runs failed: {', '.join(failed)}; run it again")
    return folder


def _one(sweep: Sweep, value: str, more: list[str], threads: int, folder: Path, say: Callable[[str], None]) -> bool:
    """Run the pipeline for one value in a process of its own; whether it succeeded."""
    log = folder / "logs" / f"{sweep.run_id(value)}{more[0]}.log"
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with open(log, "w") as file:
        command = sweep.command(value, *more)
        status = subprocess.run(command, stdout=file, stderr=file, env=environment, cwd=paths.ROOT).returncode
    say(f"{sweep.parameter}={value} {' '.join(more)}: {'done' if status == 0 else f'failed, see {log}'}")
    return status == 0


def _check(sweep: Sweep) -> tuple[str, str]:
    """Fit every run's parameters to the notebooks before anything starts; the names of the first two notebooks."""
    folders = {runs.folder(sweep.run_id(value)) for value in sweep.values}
    if len(folders) < len(sweep.values) or not sweep.values:
        raise PresetError(f"--over names each value once, got {', '.join(sweep.values) or 'none'}.")
    fixed = {name.strip(): text for name, text in (assignment.split("=", 1) for assignment in sweep.fixed)}
    if sweep.parameter in fixed:
        raise PresetError(f"{sweep.parameter} is swept over, so -p cannot set it, too.")
    preset = presets.load(sweep.preset)
    plans = [
        presets.plan(preset, {name: Text(text) for name, text in {**fixed, sweep.parameter: value}.items()})
        for value in sweep.values
    ]
    names = list(dict.fromkeys(step.notebook.name for step in plans[0]))
    if len(names) < 2:
        raise PresetError(f"The preset {preset.name} has one notebook only: run it by `pipeline`, value by value.")
    if any(plan[0].parameters != plans[0][0].parameters for plan in plans):
        raise PresetError(f"{sweep.parameter} is a parameter of {names[0]}, which all runs of a sweep share.")
    return names[0], names[1]


def gather(sweep: Sweep, values: Sequence[str], folder: Path) -> list[Path]:
    """Join the tables of finished runs; the column note begins with the value that a row belongs to."""
    written = []
    for name in TABLES:
        found = {value: runs.folder(sweep.run_id(value)) / "tables" / f"{name}.csv" for value in values}
        tables = [
            results.read(path).assign(note=lambda rows, value=value: f"{sweep.parameter}={value}; " + rows["note"])
            for value, path in found.items()
            if path.is_file()
        ]
        if tables:
            written.append(results.write(pd.concat(tables, ignore_index=True), folder / "tables" / f"{name}.csv"))
    return written


def summary(folder: Path) -> str:
    """The rates on held-out recognisers of every run of a sweep, in per cent with their intervals."""
    table = results.read(folder / "tables" / f"{TABLES[0]}.csv")
    held_out = table[table["note"].str.endswith("held out")]
    return results.pivot(held_out, ["note", "recogniser", "method"]).to_string()
