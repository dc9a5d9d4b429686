"""Run the notebooks of a preset in order, and say in one sentence what went wrong."""

import hashlib
import json
import os
import shlex
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from amtgan_lib import paths
from amtgan_lib.errors import Interrupted
from amtgan_lib.files import sha256_of
from amtgan_lib.pipeline import estimate, presets, report, runs
from amtgan_lib.pipeline.parameters import Text
from amtgan_lib.pipeline.presets import Step
from amtgan_lib.reporting import results

LONGEST_MESSAGE = 300


class NotebookFailed(Exception):
    """Which notebook, which cell, the exception and where the copy lies."""


def run(
    preset: str | Path,
    *,
    only: str = "",
    start: str = "",
    run_id: str | None = None,
    overrides: Mapping[str, object] | None = None,
    resume: bool = False,
    wait: float = 0.0,
    foretell: bool = False,
) -> Path:
    """Check everything, run the notebooks, print what to open, and return the run folder.

    However the run ends, report.html in its folder says so.

    resume: keep the steps that are done if neither their cells, their parameters, the library's files, the prepared
    faces nor an earlier step have changed since. wait: seconds that another process in this run is given to end.
    foretell: measure two steps of each training first, and print the minutes to expect.
    """
    chosen, overrides = presets.load(preset), overrides or {}
    plan = presets.plan(chosen, overrides)
    steps = presets.select(plan, only, start)
    presets.check_recipes(steps)
    run_dir = runs.folder(run_id or runs.default_id(chosen.name))
    with runs.held(run_dir, wait):
        kept, reason = to_keep(run_dir, plan, steps) if resume else (set(), "")
        begun = checkpoint_of_first(run_dir, plan, steps, kept) if resume else {}
        given = {name: value.text if isinstance(value, Text) else str(value) for name, value in overrides.items()}
        words = {"--preset": str(preset), "--only": only, "--from": start}
        facts = {"preset": chosen.name, "parameters": chosen.parameters, "overrides": given}
        facts |= {"plan": [step.name for step in plan], "onward": _onward(words, given, run_dir.name)}
        _open(run_dir, facts, [step.name for step in steps if step.name not in kept])
        print(f"{chosen.name}: {len(steps)} notebooks into {shown(run_dir)}", flush=True)
        if reason:
            print(f"{len(kept)} of {len(steps)} steps kept; the others run, since {reason}", flush=True)
        for name, checkpoint in begun.items():
            print(f"{name} goes on from {shown(checkpoint)}", flush=True)
        _run_all(steps, plan, run_dir, kept, foretell, begun)
    return run_dir


def _run_all(
    steps: Sequence[Step],
    plan: Sequence[Step],
    run_dir: Path,
    kept: set[str],
    foretell: bool,
    begun: Mapping[str, Path],
) -> None:
    begin, status = time.monotonic(), "failed"
    try:
        if foretell:
            _foretell([step for step in steps if step.name not in kept], run_dir)
        for number, step in enumerate(steps, 1):
            said = "kept as it is"
            if step.name not in kept:
                said = f"done in {runs.clock(_execute(step, plan, run_dir, begun.get(step.name)))}"
            print(f"[{number}/{len(steps)}] {step.name}: {said}", flush=True)
        status = "done"
    except (Interrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    finally:
        with runs.edit(run_dir) as state:
            state |= {"status": status, "finished": runs.now(), "seconds": round(time.monotonic() - begin, 1)}
        page = report.write(run_dir)
        if status == "done":
            print(_summary(run_dir, time.monotonic() - begin))
        print(f"report: {shown(page)}", flush=True)


def _foretell(steps: Sequence[Step], run_dir: Path) -> None:
    state = runs.read(run_dir)
    try:
        said = estimate.expected(steps, state["preset"])
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted before the first notebook; to resume: {state['onward']}") from None
    if said:
        print(said, flush=True)


def to_keep(run_dir: Path, plan: Sequence[Step], steps: Sequence[Step]) -> tuple[set[str], str]:
    """The steps to keep, which are done and unchanged since, and why the first of the others has to run.

    All steps after one that runs again run again, too: they may read what it writes.
    """
    records, code = runs.read(run_dir).get("notebooks", {}), runs.code()
    selected, kept, last = {step.name for step in steps}, set(), ""
    for step in plan:
        record = records.get(step.name, {})
        if step.name in selected:
            copy = runs.copies(run_dir, step.name)["done"]
            if reason := _to_run(step, record, code, last, copy) or _on_other_faces(step, plan, record):
                return kept, f"{step.name} {reason}"
            kept.add(step.name)
        last = max(last, record.get("finished", ""))
    return kept, ""


def checkpoint_of_first(run_dir: Path, plan: Sequence[Step], steps: Sequence[Step], kept: set[str]) -> dict[str, Path]:
    """The checkpoint of the first step that runs, {its name: file}, if it is a training that was stopped.

    Cells, parameters, code and what ran before it must be unchanged. A later training follows steps that run again, so
    it starts from the beginning.
    """
    first = next((step for step in steps if step.name not in kept), None)
    if first is None or not _trains(first):
        return {}
    record = runs.read(run_dir).get("notebooks", {}).get(first.name, {})
    checkpoint = _checkpoint(run_dir, first)
    as_done = {**record, "status": "done"}
    changed = _to_run(first, as_done, runs.code(), "", checkpoint) or _on_other_faces(first, plan, record)
    return {first.name: checkpoint} if record.get("status") != "done" and not changed else {}


def _trains(step: Step) -> bool:
    return {"recipe", "resume_from"} <= step.values.keys()


def _checkpoint(run_dir: Path, step: Step) -> Path:
    return run_dir / "train" / str(step.values["recipe"]) / "checkpoint.pt"


def _drop_checkpoint(run_dir: Path, step: Step) -> None:
    """Remove the checkpoint of an earlier training in this folder: it could be taken for the new one's."""
    if not _trains(step):
        return
    left, given = _checkpoint(run_dir, step), Path(str(step.values["resume_from"]))
    if left.is_file() and left.resolve() != given.resolve():
        left.unlink()


def _to_run(step: Step, record: dict, code: str, last: str, copy: Path) -> str:
    """Why a step has to run, "" where its record says that it is done; `last` is when a step before it ended."""
    if not record:
        return "has not run"
    if record["status"] != "done" or not copy.is_file():
        return "has not finished"
    if record.get("code") != code:
        return f"ran with other code of the library (commit {record.get('commit')}, now {results.commit()})"
    if record["sha256"] != step.notebook.sha256:
        return "has other cells than it ran with"
    # The cells are the same, so what was not passed has the same default.
    there, here = {**step.notebook.defaults, **record["parameters"]}, step.values
    if names := [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]:
        different = ", ".join(f"{name} {there.get(name)!r}, now {here.get(name)!r}" for name in names)
        return f"ran with other parameters ({different})"
    return "ran before a notebook that it follows" if record["started"] < last else ""


def _on_other_faces(step: Step, plan: Sequence[Step], record: dict) -> str:
    other = record.get("faces", now := _faces(step, plan)) != now
    return "ran on faces that have been prepared differently since" if other else ""


def _faces(step: Step, plan: Sequence[Step]) -> str:
    """What a step works on: how the plan's first notebook prepares, and the file that it leaves, as it is now.

    Other runs prepare, too: one does it for all of a sweep, and any may have written this file since.
    """
    first = [[other.notebook.sha256, other.values] for other in plan if other.notebook is plan[0].notebook]
    digest = hashlib.sha256(json.dumps(first, sort_keys=True).encode())
    file = paths.PREPARED / f"{step.values.get('prepared')}.npz"
    return f"{digest.hexdigest()[:16]} {sha256_of(file)[:16] if file.is_file() else ''}"


def _open(run_dir: Path, facts: dict, steps: Sequence[str]) -> None:
    """Make or reopen the run folder; what earlier executions of ``steps`` left is removed."""
    with runs.edit(run_dir) as state:
        if state.get("preset", facts["preset"]) != facts["preset"]:
            raise runs.RunError(
                f"The run {run_dir.name} was made with the preset {state['preset']}: "
                f"add --preset {state['preset']} to resume it, or choose another --run-id."
            )
        state |= {"notebooks": {}, "outputs": [], "values": {}} | state
        state |= facts | {"run_id": run_dir.name, "status": "running", "started": runs.now()}
        state |= {"commit": results.commit(), "versions": runs.versions(), "machine": runs.machine()}
        for step in steps:
            runs.forget(run_dir, state, step)
    runs.point_latest(run_dir)


def _execute(step: Step, plan: Sequence[Step], run_dir: Path, checkpoint: Path | None) -> float:
    """Run one step and return its seconds; the copy has its name only when all cells have run.

    A training that resumes from its ``checkpoint`` ends as if it had not been stopped, so its record does not name it.
    """
    from amtgan_lib.pipeline import engine

    copies, begin = runs.copies(run_dir, step.name), time.monotonic()
    copies["done"].parent.mkdir(exist_ok=True)
    facts = {"parameters": step.parameters, "sha256": step.notebook.sha256, "code": runs.code()}
    facts |= {"commit": results.commit(), "started": runs.now(), "status": "failed", "faces": _faces(step, plan)}
    with runs.edit(run_dir) as state:  # what is known of a run that is killed
        state["notebooks"][step.name] = {**facts, "status": "running", "finished": facts["started"], "seconds": 0.0}
    try:
        parameters = {**step.parameters, "run_dir": str(run_dir)}
        if checkpoint is None:
            _drop_checkpoint(run_dir, step)
        else:
            parameters["resume_from"] = str(checkpoint)
        engine.execute(step.notebook, parameters, copies["running"], copies["log"], step.name)
        os.replace(copies["running"], copies["done"])
        copies["log"].unlink()
        if step.notebook is plan[0].notebook:  # it has just prepared them
            facts["faces"] = _faces(step, plan)
        facts["status"] = "done"
    except KeyboardInterrupt:
        facts["status"] = "interrupted"
        raise Interrupted(f"interrupted in {step.name}; to resume: {runs.read(run_dir)['onward']}") from None
    except engine.CellFailed as error:
        facts["error"] = textwrap.shorten(str(error), LONGEST_MESSAGE, placeholder=" ...")
        where, onward = shown(copies["failed"]), runs.read(run_dir)["onward"]
        raise NotebookFailed(f"{step.name} failed in {facts['error']}; see {where}; to resume: {onward}") from error
    finally:
        if copies["running"].exists():
            os.replace(copies["running"], copies["failed"])
        with runs.edit(run_dir) as state:
            seconds = time.monotonic() - begin
            state["notebooks"][step.name] = {**facts, "finished": runs.now(), "seconds": round(seconds, 1)}
    return seconds


def _onward(words: Mapping[str, str], overrides: Mapping[str, str], run_id: str) -> str:
    """The command that resumes a run, quoted for a shell."""
    command = ["python", "-m", "amtgan_lib", "pipeline"]
    command += [part for name, word in words.items() if word for part in (name, word)]
    command += [part for name, text in overrides.items() for part in ("-p", f"{name}={text}")]
    return shlex.join([*command, "--run-id", run_id, "--resume"])


def shown(path: Path) -> str:
    """Relative to the working directory if it lies below that."""
    path = Path(os.path.normpath(path))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _summary(run_dir: Path, seconds: float) -> str:
    state = runs.read(run_dir)
    outputs = [(output["kind"], run_dir / output["path"], output["title"]) for output in state["outputs"]]
    done = [name for name, record in state["notebooks"].items() if record["status"] == "done"]
    rows = outputs + [("notebook", runs.copies(run_dir, name)["done"], "as it ran") for name in done]
    lines = [f"Done in {runs.clock(seconds)}. To open:"]
    lines += [f"  {kind:<10}{shown(path)}  ({title})" for kind, path, title in rows]
    if tables := [path for kind, path, _ in outputs if kind == "table"]:
        lines += ["", tables[-1].read_text(encoding="utf-8").rstrip()]
    return "\n".join(lines)
