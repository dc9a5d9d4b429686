"""Many runs of one preset that differ in a few parameters: in parallel, here or on a cluster, into one table."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from amtgan_lib import interrupts
from amtgan_lib.errors import Interrupted
from amtgan_lib.pipeline import jobs, presets, runner, runs
from amtgan_lib.pipeline.jobs import Job, Outcome
from amtgan_lib.pipeline.machines import Cluster, Local, machines
from amtgan_lib.pipeline.parameters import PresetError, Text
from amtgan_lib.reporting import results

TABLES = ("05_black_box_success", "06_image_quality")
PREPARE = "prepare"


class SweepFailed(Exception):
    """Some runs of a sweep failed; the others are done and gathered."""


@dataclass(frozen=True)
class Sweep:
    """Every combination of the values that the parameters ``over`` take; ``fixed`` are the same for every run."""

    preset: str
    over: dict[str, tuple[str, ...]]
    fixed: dict[str, str] = field(default_factory=dict)
    sweep_id: str = "sweep"

    def __post_init__(self):
        if self.preset.endswith((".yaml", ".yml")):  # the runs start in another folder
            object.__setattr__(self, "preset", str(Path(self.preset).resolve()))


@dataclass(frozen=True)
class Member:
    """One run of a sweep: ``preparing`` is the first notebook, which one run does for all, ``own`` are the others."""

    run_id: str
    chosen: dict[str, str]
    preparing: tuple[presets.Step, ...]
    own: tuple[presets.Step, ...]

    @property
    def label(self) -> str:
        """Such as `held_out=a, target=b`."""
        return ", ".join(f"{name}={value}" for name, value in self.chosen.items())

    @property
    def first(self) -> str:
        """Name of the notebook that prepares."""
        return self.preparing[0].notebook.name

    def to_run(self, *, prepare: bool = False) -> str:
        """Why the run's own notebooks, or those that prepare, have to run; "" where all are finished."""
        steps = self.preparing if prepare else self.own
        return runner.to_keep(runs.folder(self.run_id), [*self.preparing, *self.own], steps)[1]


def run(sweep: Sweep, workers: int = 0, scheduler: str = "", say: Callable[[str], None] = print) -> Path:
    """Run a sweep, ``workers`` runs at a time (0: one a core), and gather its tables; returns the folder of these.

    ``scheduler`` is the address of a Dask cluster whose workers see this checkout; "" runs on this machine. The faces
    are prepared once, by the first run; the others wait for it. A finished run is skipped, a failed one does not stop
    the others. Raises PresetError before anything runs, SweepFailed and Interrupted at the end.
    """
    if workers < 0:
        raise PresetError(f"--workers is {workers}: give the number of parallel runs, or 0 for one per core.")
    members = _members(sweep)
    folder = runs.folder(sweep.sweep_id)
    # Ctrl-C ends the runs, each at its own pace, instead of this process; a second one ends both.
    with runs.held(folder), jobs.open_board(folder) as board, interrupts.first_calls(lambda _: jobs.take_away(board)):
        running = Running(sweep, members, folder, board, say)
        outcomes = running.outcomes(workers, scheduler)
        good = [member for member in members if outcomes[member.run_id].state in (jobs.FINISHED, jobs.SKIPPED)]
        gather(good, folder)
    say(_report(members, outcomes, folder))
    left = [member.label for member in members if member not in good]
    if any(outcome.state == jobs.INTERRUPTED for outcome in outcomes.values()):
        raise Interrupted(f"interrupted, {len(good)} of {len(members)} runs finished; run it again to resume")
    if left:
        raise SweepFailed(f"{len(left)} of {len(members)} runs failed: {'; '.join(left)}; run it again to resume")
    return folder


def _members(sweep: Sweep) -> list[Member]:
    """The runs of a sweep; all parameters are checked against the notebooks before anything starts."""
    if both := sorted(sweep.over.keys() & sweep.fixed.keys()):
        raise PresetError(f"{both[0]} is swept over, so -p cannot set it, too.")
    if not sweep.over:
        raise PresetError("--over is missing: give a parameter and its values, such as --over seed=0,1,2.")
    preset, members = presets.load(sweep.preset), []
    for values in itertools.product(*sweep.over.values()):
        chosen = dict(zip(sweep.over, values))
        plan = presets.plan(preset, {name: Text(text) for name, text in {**sweep.fixed, **chosen}.items()})
        presets.check_recipes(plan)
        preparing = tuple(step for step in plan if step.notebook.name == plan[0].notebook.name)
        named = [re.sub(r"[^A-Za-z0-9.+-]+", "_", value) for value in values]
        members.append(Member("-".join([sweep.sweep_id, *named]), chosen, preparing, tuple(plan[len(preparing) :])))
    if len({member.run_id for member in members}) < len(members):
        given = "; ".join(f"{name}={','.join(values)}" for name, values in sweep.over.items())
        raise PresetError(f"--over names each value once, got {given}.")
    if not members[0].own:
        raise PresetError(f"The preset {preset.name} has only one notebook: use `pipeline` for each value.")
    if any(member.preparing != members[0].preparing for member in members):
        names = " and ".join(name for name in sweep.over if name in members[0].preparing[0].parameters)
        raise PresetError(f"{names} is a parameter of {members[0].first}, which all runs of a sweep share.")
    return members


@dataclass(frozen=True)
class Running:
    """A running sweep."""

    sweep: Sweep
    members: list[Member]
    folder: Path
    board: Path
    say: Callable[[str], None]

    def outcomes(self, workers: int, scheduler: str) -> dict[str, Outcome]:
        """Run all that is not finished; how each run ended, by its id."""
        skipped = {member.run_id: Outcome(member.run_id, jobs.SKIPPED) for member in self.members}
        first, waiting = self.members[0], self._waiting()
        prepare = first.to_run(prepare=True)
        if not prepare and not waiting:
            return skipped
        if prepare:  # then the first run repeats its own notebooks, too
            waiting = [first, *(member for member in waiting if member != first)]
        (self.folder / "logs").mkdir(exist_ok=True)
        with machines(scheduler, workers, self.board) as where:
            if prepare and (ended := self._prepare(where)).state != jobs.FINISHED:
                return skipped | {member.run_id: replace(ended, name=member.run_id) for member in waiting}
            return skipped | self._all(waiting, where)

    def _waiting(self) -> list[Member]:
        waiting = []
        for member in self.members:
            if reason := member.to_run():
                waiting.append(member)
                if runs.read(runs.folder(member.run_id)):
                    self.say(f"{member.label}: resumes, since {reason}")
        return waiting

    def _prepare(self, where: Local | Cluster) -> Outcome:
        first, log = self.members[0], self._log(PREPARE)
        job = replace(self._job(first, where.threads(1)), name=PREPARE, log=log, start="", only=first.first)
        [outcome] = where.run([job])
        self.say(f"{first.first}: {outcome.state} in {runs.clock(outcome.seconds)}")
        return outcome

    def _all(self, waiting: Sequence[Member], where: Local | Cluster) -> dict[str, Outcome]:
        threads, at_once = where.threads(len(waiting)), min(where.slots, len(waiting))
        self.say(f"{len(waiting)} runs of {self.sweep.preset}, {at_once} at a time, threads for each: {threads}")
        labels, outcomes = {member.run_id: member.label for member in waiting}, {}
        for outcome in where.run([self._job(member, threads) for member in waiting]):
            outcomes[outcome.name] = outcome
            ended = f"{outcome.state} in {runs.clock(outcome.seconds)}"
            self.say(f"[{len(outcomes)}/{len(waiting)}] {labels[outcome.name]}: {ended}")
        return outcomes

    def _job(self, member: Member, threads: int) -> Job:
        overrides, start = {**self.sweep.fixed, **member.chosen}, member.own[0].notebook.name
        log = self._log(member.run_id)
        return Job(member.run_id, self.sweep.preset, member.run_id, log, self.board, overrides, "", start, threads)

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"


def _report(members: Sequence[Member], outcomes: dict[str, Outcome], folder: Path) -> str:
    """One line a run: how it ended, and the reason and log of failed ones; also stored as runs.csv."""
    table = pd.DataFrame([{**member.chosen, **vars(outcomes[member.run_id])} for member in members])
    table = table.drop(columns="name")
    results.write_text(table.to_csv(index=False), folder / "runs.csv")
    shown = table.assign(
        seconds=[runs.clock(seconds) for seconds in table["seconds"]],
        reason=[textwrap.shorten(reason, runner.LONGEST_MESSAGE, placeholder=" ...") for reason in table["reason"]],
        log=[log and runner.shown(Path(log)) for log in table["log"]],
    )
    ordered = [name for name in shown if name != "reason"]  # the longest goes last
    shown = shown[[*ordered, "reason"]].rename(columns={"seconds": "time"})
    lines = [list(shown.columns), *shown.values.tolist()]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def gather(members: Sequence[Member], folder: Path) -> list[Path]:
    """Join the tables of finished runs; the column note begins with the values that a row belongs to.

    A table that no run has is removed, so that one of an earlier sweep cannot pass for this one's.
    """
    written = []
    for name in TABLES:
        (folder / "tables" / f"{name}.csv").unlink(missing_ok=True)
        files = {member.label: runs.folder(member.run_id) / "tables" / f"{name}.csv" for member in members}
        tables = [
            results.read(path).assign(note=lambda rows, label=label: f"{label}; " + rows["note"])
            for label, path in files.items()
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
