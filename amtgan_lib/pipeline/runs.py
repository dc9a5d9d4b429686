"""The folder of a run: run.json says what ran, from what, with which outputs and values."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from amtgan_lib import paths
from amtgan_lib.files import write_text, written
from amtgan_lib.reporting import results

KINDS = ("table", "figure", "file")
TABLE_SUFFIXES = (".md", ".txt", ".csv")
STEP_VARIABLE = "AMTGAN_STEP"
"""Set in the kernels that the pipeline starts: the step that outputs and values belong to."""
CODE_SUFFIXES = (".py", ".csv", ".npz", ".png", ".safetensors", ".webp")
PACKAGES = ("torch", "torchvision", "numpy", "timm", "lpips", "mediapipe", "papermill", "ipykernel")


class RunError(Exception):
    """A run folder cannot take what it was given."""


def now() -> str:
    """UTC, such that strings compare as times do."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def clock(seconds: float) -> str:
    """Minutes and seconds, `12:05`."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def code() -> str:
    """The first 16 hex digits of a sha256 of the library's files as they are now, with weights and tables.

    Unlike the commit, it sees uncommitted changes, and ignores files that affect no result, such as README.md.
    """
    digest, library = hashlib.sha256(), Path(paths.__file__).parent
    for path in sorted(path for path in library.rglob("*") if path.suffix in CODE_SUFFIXES):
        digest.update(str(path.relative_to(library)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str | None]:
    """Version of Python and of the packages that numbers depend on; None where one is not installed."""
    import platform
    from importlib import metadata

    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = None
    return {"python": platform.python_version(), **installed}


def machine() -> str:
    """The processor, and the GPUs where their driver's tool names any."""
    call = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        gpus = subprocess.run(call, capture_output=True, text=True, check=True, timeout=20).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        gpus = []
    return ", ".join([results.device_name(), *gpus])


def default_id(preset: str) -> str:
    """`open-small-20260131T120000Z-1048a2e5f0`."""
    commit = re.sub(r"[^A-Za-z0-9._-]+", "", results.commit())
    return f"{preset}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{commit}"


def folder(run_id: str) -> Path:
    """The run folder of that id; "latest" is the one that the link of this name points to."""
    if run_id == "latest":
        if not (paths.RUNS / "latest").exists():
            raise RunError(f"There is no latest run in {paths.RUNS}: leave --run-id out.")
        return (paths.RUNS / "latest").resolve()
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", run_id):
        raise RunError(f"A run cannot be called {run_id!r}: take letters, digits and . _ + -, a letter or digit first.")
    return paths.RUNS / run_id


def point_latest(run_dir: Path) -> None:
    """Let results/runs/latest be a link to this run."""
    with written(paths.RUNS / "latest") as link:
        link.symlink_to(run_dir.name, target_is_directory=True)


def read(run_dir: Path | str) -> dict:
    """run.json, or an empty dict where there is none yet; RunError where it is damaged."""
    path = Path(run_dir) / "run.json"
    if not path.exists():
        return {}
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}): take another run id, or remove the folder.") from error
    if not isinstance(state, dict):
        raise RunError(f"{path} is damaged (it holds no mapping): take another run id, or remove the folder.")
    return state


@contextmanager
def edit(run_dir: Path | str) -> Iterator[dict]:
    """run.json to change in place; one process at a time, and a reader never sees half a file."""
    from filelock import FileLock

    Path(run_dir).mkdir(parents=True, exist_ok=True)
    with FileLock(Path(run_dir) / ".run.lock"):
        state = read(run_dir)
        yield state
        write_text(_as_json(state), Path(run_dir) / "run.json")


@contextmanager
def held(run_dir: Path, wait: float = 0.0) -> Iterator[None]:
    """Lock a run folder against other processes; RunError if one still holds it after `wait` seconds.

    The system releases the lock when its holder dies, however it dies.
    """
    from filelock import FileLock, Timeout

    run_dir.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(run_dir / ".held.lock").acquire(timeout=wait)
    except Timeout:
        raise RunError(f"Another process is running into {run_dir}: wait for its end, or take another id.") from None
    with lock:
        yield


def register_output(run_dir: Path | str, path: Path | str, title: str, kind: str = "figure") -> Path:
    """Name a file that is worth opening after the run; kind: "table" (as text), "figure" or "file".

    The table registered last is printed when the run ends. Registering a path again replaces its entry.
    """
    path = Path(path)
    if kind not in KINDS:
        raise RunError(f"An output is no {kind!r}: the kinds are {', '.join(KINDS)}.")
    if kind == "table" and path.suffix not in TABLE_SUFFIXES:
        raise RunError(f"A table is text ({', '.join(TABLE_SUFFIXES)}), and {path} is not: register it as a figure.")
    if not path.is_file():
        raise RunError(f"There is no file {path} to register: write it first.")
    where = os.path.relpath(path.resolve(), Path(run_dir).resolve())
    entry = {"path": where, "title": title, "kind": kind, "step": os.environ.get(STEP_VARIABLE)}
    with edit(run_dir) as state:
        others = [other for other in state.get("outputs", []) if other["path"] != where]
        state["outputs"] = [*others, entry]
    return path


def record(run_dir: Path | str, name: str, /, **values: object) -> Path:
    """Write named values to values/NAME.json, for tests to assert; calling it again replaces them.

    Numbers, strings, lists, dicts, arrays and tensors; RunError for NaN and infinity: write None where none is meant.
    """
    path = Path(run_dir) / "values" / f"{name}.json"
    for key, value in values.items():
        try:
            _as_json(value)
        except (TypeError, ValueError) as error:
            raise RunError(f"The value {key!r} of {name} cannot be recorded: {error}.") from error
    write_text(_as_json(values), path)
    with edit(run_dir) as state:
        state.setdefault("values", {})[name] = os.environ.get(STEP_VARIABLE)
    return path


def _as_json(value: object) -> str:
    return json.dumps(value, indent=2, allow_nan=False, default=_json_ready) + "\n"


def _json_ready(value: object) -> object:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def values(run_dir: Path | str) -> dict[str, dict]:
    """What was recorded: {name: {value name: value}}."""
    files = sorted((Path(run_dir) / "values").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def copies(run_dir: Path, step: str) -> dict[str, Path]:
    """Where the executed copy of a step lies, while it runs, when it is done, when it failed; and its kernel's log."""
    place = run_dir / "notebooks"
    return {
        "running": place / f"{step}.partial.ipynb",
        "done": place / f"{step}.ipynb",
        "failed": place / f"{step}.failed.ipynb",
        "log": place / f"{step}.failed.log",
    }


def forget(run_dir: Path, state: dict, step: str) -> None:
    """Remove what an earlier execution of the step left, so that nothing stale can pass for a result."""
    for copy in copies(run_dir, step).values():
        copy.unlink(missing_ok=True)
    for name, owner in list(state["values"].items()):
        if owner == step:
            (run_dir / "values" / f"{name}.json").unlink(missing_ok=True)
            del state["values"][name]
    state["outputs"] = [output for output in state["outputs"] if output["step"] != step]
    state["notebooks"].pop(step, None)
