"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary name in the folder of ``path``, which is made: what is written there is moved to ``path`` in the end.

    If anything stops the writing, nothing stays of it, and whatever was at ``path`` stays as it was. The temporary name
    has the same suffix, by which writers choose the format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    partial.unlink(missing_ok=True)  # of a process of this number that was killed
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
