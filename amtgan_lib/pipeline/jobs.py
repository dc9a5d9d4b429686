"""One run of a sweep, in a process of its own that is watched: the same on this machine and on a Dask worker."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from amtgan_lib import paths
from amtgan_lib.errors import Interrupted

TRIES = 2
"""A run whose process was killed is tried once more: it resumes after its last finished notebook."""
SECONDS_TO_END = 30
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
FINISHED, SKIPPED, FAILED, INTERRUPTED = "finished", "skipped", "failed", "interrupted"


@dataclass(frozen=True)
class Job:
    """What one process runs; `board` is a folder that exists while the sweep runs."""

    name: str
    preset: str
    run_id: str
    log: Path
    board: Path
    overrides: dict[str, str] = field(default_factory=dict)
    only: str = ""
    start: str = ""
    threads: int = 1

    def command(self) -> list[str]:
        """The command line of the process."""
        arguments = {name: getattr(self, name) for name in ("preset", "run_id", "overrides", "only", "start")}
        return [sys.executable, "-m", "amtgan_lib.pipeline.child", json.dumps(arguments)]


@dataclass(frozen=True)
class Outcome:
    """How a job ended: finished, skipped, failed or interrupted; the reason, if there is one, and its log."""

    name: str
    state: str
    seconds: float = 0.0
    reason: str = ""
    log: str = ""


@contextmanager
def open_board(folder: Path) -> Iterator[Path]:
    """A new board, removed at the end. Boards of killed sweeps are removed now, which stops what they still run."""
    for left in folder.glob(".board-*"):
        take_away(left)
    board = folder / f".board-{uuid4().hex[:8]}"
    board.mkdir()
    try:
        yield board
    finally:
        take_away(board)


def take_away(board: Path) -> None:
    """Stop the jobs of a board. It is renamed before it is removed, since a job may be writing to it."""
    gone = board.with_name(f".gone-{uuid4().hex[:8]}")
    try:
        board.rename(gone)
    except FileNotFoundError:  # Ctrl-C was faster
        return
    shutil.rmtree(gone)


def work(job: Job) -> Outcome:
    """Run a job to its end. A killed process is started again, even if its watcher died with it."""
    begin = time.monotonic()
    try:
        state, reason = _tried(job)
    except OSError as error:  # a full disk, say: one run's trouble must not end the others
        state, reason = FAILED, str(error)
    return Outcome(job.name, state, time.monotonic() - begin, reason, str(job.log))


def _tried(job: Job) -> tuple[str, str]:
    while tries := _count(job):
        if tries > TRIES:
            return FAILED, f"its process was killed {TRIES} times"
        status = _watched(job, tries)
        if status == 0:
            return FINISHED, ""
        if status == Interrupted.exit_status:
            break
        if status > 0:
            return FAILED, _last_line(job.log)
    return INTERRUPTED, ""


def _count(job: Job) -> int:
    """Which start of the job this is; 0 where its board is gone. On disk, since a watcher may die with its machine."""
    try:
        with open(job.board / job.name, "ab") as file:
            file.write(b".")
            return file.tell()
    except FileNotFoundError:
        return 0


def _watched(job: Job, tries: int) -> int:
    """Run the job's process; its exit status, below 0 for the signal that killed it, 130 where the sweep has ended.

    The process holds the other end of a pipe from here, so it notices when this one is gone. A session of its own
    keeps the terminal's Ctrl-C from it, which would reach it before the sweep has said that it ends.
    """
    environment = {**os.environ, **dict.fromkeys(THREADS, str(job.threads))}
    with open(job.log, "wb" if tries == 1 else "ab") as log:
        how = {"stdin": subprocess.PIPE, "stdout": log, "stderr": log, "env": environment, "cwd": paths.ROOT}
        with subprocess.Popen(job.command(), **how, start_new_session=True) as process:
            while process.poll() is None:
                if not job.board.exists():
                    return _ended(process)
                try:
                    process.wait(1)
                except subprocess.TimeoutExpired:
                    continue
            return process.returncode


def _ended(process: subprocess.Popen) -> int:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
    return Interrupted.exit_status


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
