"""Files that appear whole or not at all, their sha256, and files of tensors, which hold data and never run code."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


LONGEST = 180  # bytes of a file's stem to which a temporary name can add: names end at 255


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, whose folder is made: what is written there is moved to ``path`` at the end.

    If the writing stops, nothing remains of it, and ``path`` is unchanged. The temporary name has the same suffix, by
    which writers choose the format. An OSError of the writing names ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary(path, "partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if not error.errno or str(error.filename) not in ("None", str(partial)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def temporary(path: Path, kind: str) -> Path:
    """A hidden name for this process beside ``path``; what killed processes left under such names is removed."""
    stem = _short(path.stem)
    left = re.compile(rf"\.+{re.escape(stem)}\.(\d+)\.(draft|partial)(\.\d+\.partial)?{re.escape(path.suffix)}")
    for entry in os.scandir(path.parent):
        if (match := left.fullmatch(entry.name)) and not _runs(int(match[1])):
            Path(entry.path).unlink(missing_ok=True)
    name = path.with_name(f".{stem}.{os.getpid()}.{kind}{path.suffix}")
    name.unlink(missing_ok=True)  # of a process of this number that was killed
    return name


def hidden(path: Path, kind: str) -> Path:
    """A hidden name beside ``path``, the same for every process, for what belongs to it."""
    return path.with_name(f".{_short(path.stem)}.{kind}{path.suffix}")


def _short(stem: str) -> str:
    return stem if len(os.fsencode(stem)) <= LONGEST else hashlib.sha256(os.fsencode(stem)).hexdigest()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs for somebody else
        return True
    return True


def write_text(text: str, path: Path) -> Path:
    """Write a text file whole, making its folder."""
    with written(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file in hexadecimal, read once in this process unless its size or time of change differ."""
    about = os.stat(path)
    return _sha256(Path(path), about.st_size, about.st_mtime_ns)


@functools.cache  # a photo is asked for in every epoch
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor], told: Mapping[str, Any]) -> Path:
    """Write contiguous tensors and what there is to tell about them, JSON values by name; the file appears whole."""
    from safetensors.torch import save_file

    with written(path) as partial:
        save_file(dict(tensors), partial, {name: json.dumps(value) for name, value in told.items()})
    return path


def read_safetensors(path: str | Path, *names: str) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """The tensors of a file from ``write_safetensors``, and what it tells by these names.

    Raises FileNotFoundError without a file, ValueError for one that is damaged, KeyError where it tells none of a name.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        return tensors, [json.loads(told[name]) for name in names]
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a safetensors file, or it is damaged: {error}") from error


def read_tensors(path: str | Path, device: str | torch.device = "cpu") -> Any:
    """What ``torch.save`` wrote: a state dict, a checkpoint. ValueError where the file is damaged or holds code."""
    import torch

    try:
        return torch.load(path, map_location=device, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, MemoryError for a length, ... by the bytes
        first = str(error).partition("\n")[0]
        raise ValueError(f"{path} is damaged or no file of weights: {first or type(error).__name__}") from error
