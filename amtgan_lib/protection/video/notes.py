"""What an unfinished video has found so far, kept beside it: an interrupted one goes on where it stopped.

Faces are looked for in every frame, and a look is searched for at each key frame: these take nearly all of the time,
and what they find is small. Frames are painted and coded anew, so that a resumed video is the same. SQLite keeps what
was noted whole, however the process ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load, save

from amtgan_lib.faces import FaceCrop
from amtgan_lib.files import hidden
from amtgan_lib.methods import Method
from amtgan_lib.models.rendering import Look, Worn
from amtgan_lib.protection.video.clips import VideoError
from amtgan_lib.protection.video.tracks import Glance

SECONDS = 2.0  # between two commits: what a killed process loses at most
TABLES = """
create table if not exists facts (json text);
create table if not exists glances (number integer primary key, time real, meshes blob, thumbnail blob);
create table if not exists looks (key text primary key, numbers blob);
"""


@contextlib.contextmanager
def noted(out: Path, facts: Mapping[str, Any]) -> Iterator[Notes]:
    """The notes for a new file ``out``; those of other ``facts`` (JSON values) are dropped.

    They stay where the work is interrupted or killed, and are removed where it ends, well or with an error.
    """
    notes = Notes(out, facts)
    try:
        yield notes
    except Exception:
        notes.close(remove=True)
        raise
    except BaseException:
        notes.close()
        raise
    notes.close(remove=True)


def file_beside(out: Path) -> Path:
    """Where the notes for a new file ``out`` are."""
    return hidden(out.with_name(f"{out.name}.sqlite"), "unfinished")


class Notes:
    """Glances by the number of their frame, and looks by all that they depend on; ``known``: glances noted before."""

    def __init__(self, out: Path, facts: Mapping[str, Any]):
        self.path, self._committed = file_beside(out), time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        told = json.dumps(facts, sort_keys=True)
        try:
            self._rows = self._opened(told)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise self._trouble(error) from error
            self._remove()  # damaged, or no notes at all
            self._rows = self._opened(told)
        self.known: int = self._rows.execute("select count(*) from glances").fetchone()[0]

    def _opened(self, told: str) -> sqlite3.Connection:
        rows = sqlite3.connect(self.path, timeout=1)
        try:
            rows.execute("pragma locking_mode = exclusive")
            rows.executescript(TABLES)
            if rows.execute("select json from facts").fetchall() != [(told,)]:
                rows.executescript("delete from facts; delete from glances; delete from looks;")
                rows.execute("insert into facts values (?)", (told,))
            rows.commit()
        except sqlite3.Error:
            rows.close()
            raise
        return rows

    def glance(self, number: int) -> Glance | None:
        """What was seen in a frame, or None."""
        found = self._asked("select time, meshes, thumbnail from glances where number = ?", number)
        if found is None:
            return None
        meshes, thumbnail = map(_array, found[1:])
        return Glance(found[0], list(meshes), thumbnail)

    def add_glance(self, number: int, glance: Glance) -> None:
        """Note what was seen in a frame."""
        meshes = np.stack(glance.meshes) if glance.meshes else np.empty((0, 478, 2))
        self._add("glances", number, glance.time, _bytes(meshes), _bytes(glance.thumbnail))

    def remembering(self, method: Method) -> Method:
        """The same method; the looks that it finds are noted, and not searched for a second time."""
        if method.wear is None or method.dressed is None or method.identity is None:
            return method
        wear, dressed, identity = method.wear, method.dressed, method.identity()

        def worn(crop: FaceCrop, reference: FaceCrop, begin: Look | None = None) -> Worn:
            key = _key(identity, crop, reference, begin)
            if (found := self._asked("select numbers from looks where key = ?", key)) is not None:
                return dressed(crop, Look(**load(found[0])))
            look = wear(crop, reference, begin)
            numbers = {part: value.contiguous() for part, value in look.look.worn().items()}
            self._add("looks", key, save(numbers))
            return look

        return replace(method, wear=worn)

    def close(self, remove: bool = False) -> None:
        """Write what is noted, or remove it."""
        with contextlib.suppress(sqlite3.Error):  # at worst, the last seconds are found anew
            self._rows.commit()
        self._rows.close()
        if remove:
            self._remove()

    def _remove(self) -> None:
        for name in (self.path, f"{self.path}-journal"):  # which a killed process may have left
            Path(name).unlink(missing_ok=True)

    def _asked(self, question: str, key: int | str) -> tuple | None:
        return self._rows.execute(question, (key,)).fetchone()

    def _add(self, table: str, *values: Any) -> None:
        try:
            self._rows.execute(f"insert or replace into {table} values ({', '.join('?' * len(values))})", values)
            if time.monotonic() - self._committed >= SECONDS:
                self._rows.commit()
                self._committed = time.monotonic()
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _trouble(self, error: sqlite3.Error) -> VideoError:
        if "locked" in str(error):
            return VideoError(f"{self.path} is in use: another process writes this video")
        return VideoError(f"{self.path}, where an interrupted video would go on from, cannot be written: {error}")


def _key(identity: str, crop: FaceCrop, reference: FaceCrop, begin: Look | None) -> str:
    """A digest of all that a look depends on."""
    digest = hashlib.sha256(identity.encode())
    tensors = [crop.image, crop.points, crop.mesh]
    tensors += [] if reference is crop else [reference.image, reference.mesh]
    tensors += [] if begin is None else [value for _, value in sorted(begin.worn().items())]
    for tensor in tensors:
        digest.update(b"none" if tensor is None else tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _array(stored: bytes) -> np.ndarray:
    return np.load(io.BytesIO(stored), allow_pickle=False)
