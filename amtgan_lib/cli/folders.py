"""Which photo becomes which file: the photos of a folder, the names of their outputs, and what must not be written."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from amtgan_lib.cli.arguments import NotDone, Protect, WrongArguments
from amtgan_lib.images import PHOTO_SUFFIXES

FORMATS = ", ".join(sorted(PHOTO_SUFFIXES))


@dataclass(frozen=True)
class PhotoJob:
    """A photo, the file that it becomes, and in one sentence why it cannot; ``done`` where it is there already."""

    photo: Path
    output: Path
    problem: str = ""
    done: bool = False


@dataclass(frozen=True)
class Found:
    """What lies in a folder: photos, other files, and what could not be looked into, each in order."""

    photos: tuple[Path, ...]
    others: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()


def look(where: Path, leave_out: Path | None = None) -> Found:
    """The photos of a folder and its folders; hidden and linked ones and the folder ``leave_out`` are passed over.

    Raises NotDone where there is no photo.
    """
    if where.is_file():
        return Found((where,))
    photos, others, problems = [], [], []
    for folder, folders, files in os.walk(where, onerror=lambda error: problems.append(f"cannot be read: {error}")):
        here = Path(folder)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not _same(here / f, leave_out))
        for file in sorted(f for f in files if not f.startswith(".")):
            (photos if Path(file).suffix.lower() in PHOTO_SUFFIXES else others).append(here / file)
    if not photos and not problems:
        raise NotDone(f"there is no photo in {where} ({FORMATS}).")
    return Found(tuple(photos), tuple(others), tuple(problems))


def _same(one: Path, other: Path | None) -> bool:
    return other is not None and other.exists() and one.samefile(other)


def destination(options: Protect) -> Path:
    """The file or folder to write, from -o or by default; WrongArguments where it cannot be one."""
    photo, output, form = options.photo, options.output, options.format
    if photo.is_dir():
        named = photo if photo.name not in ("", "..") else photo.resolve()
        output = output or Path(f"{named}_protected")
        if output.is_file() or (not output.exists() and output.suffix.lower() in PHOTO_SUFFIXES):
            raise WrongArguments(f"{photo} is a folder, so OUT must be a folder, and {output} is a file.")
        if _same(photo, output):
            raise WrongArguments(f"{output} holds the photos themselves: name another folder.")
        return output
    if output is None:
        return photo.with_name(f"{photo.stem}_protected{_suffix(photo, form)}")
    if output.is_dir() or not output.suffix:
        return output / f"{photo.stem}{_suffix(photo, form)}"
    if output.suffix.lower() not in PHOTO_SUFFIXES:
        raise WrongArguments(f"{output} has a suffix that cannot be written: use {FORMATS}, or an existing folder.")
    if form:
        raise WrongArguments(f"OUT {output} already names a format: leave --format out.")
    return output


def _suffix(photo: Path, form: str | None) -> str:
    """`.png`, or that of the format; `same` is the photo's own where such a file can be written."""
    if form == "same":
        return photo.suffix if photo.suffix.lower() in PHOTO_SUFFIXES else ".png"
    return f".{form or 'png'}"


def plan(options: Protect, output: Path, found: Found) -> list[PhotoJob]:
    """A job for each photo; those that cannot be done have their problem."""
    photo = options.photo
    if photo.is_dir():
        jobs = [
            PhotoJob(each, output / each.relative_to(photo).with_suffix(_suffix(each, options.format)))
            for each in found.photos
        ]
    else:
        jobs = [PhotoJob(photo, output)]
    inputs = {_identity(each) for each in found.photos}
    times = Counter(job.output for job in jobs)
    return [_checked(job, options, inputs, times[job.output] > 1) for job in jobs]


def _identity(path: Path) -> tuple[int, int] | None:
    """What a file is whatever it is called; None where there is none."""
    try:
        facts = path.stat()
    except OSError:  # also a link to nothing
        return None
    return facts.st_dev, facts.st_ino


def _checked(job: PhotoJob, options: Protect, inputs: set, twice: bool) -> PhotoJob:
    if twice:
        reason = f"another photo would also become {job.output}: use --format same, or rename one"
    elif (there := _identity(job.output)) and there in inputs:
        reason = f"{job.output} is one of the input photos, which are never overwritten: name another OUT"
    elif job.output.is_dir():
        reason = f"{job.output} is a folder"
    elif between := [folder for folder in job.output.parents if folder.is_file()]:
        reason = f"{between[0]} is a file, not a folder"
    elif os.path.lexists(job.output) and options.skip_existing:
        return replace(job, done=True)
    elif os.path.lexists(job.output) and not options.overwrite:
        reason = f"{job.output} is there already: --overwrite replaces it, --skip-existing passes over it"
    else:
        return job
    return replace(job, problem=reason)


@contextlib.contextmanager
def draft(output: Path) -> Iterator[Path]:
    """A hidden path beside ``output`` to write to and look at before it is moved there.

    At the end what is left of it goes away, and so do folders that were made for it and stayed empty.
    """
    made = [folder for folder in (output.parent, *output.parent.parents) if not folder.exists()]
    path = output.with_name(f".{output.stem}.{os.getpid()}.draft{output.suffix}")
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: something was written
                folder.rmdir()
