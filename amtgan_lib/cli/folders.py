"""Which photo becomes which file: the photos of a folder, the names of outputs, and what must not be overwritten."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from amtgan_lib.cli.arguments import NotDone, Protect
from amtgan_lib.errors import WrongArguments
from amtgan_lib.files import temporary
from amtgan_lib.formats import WRITTEN, PhotoError, format_of, is_picture


@dataclass(frozen=True)
class PhotoJob:
    """A photo, its output, and in one sentence why it cannot be written; ``done`` if it exists and is kept.

    shown: the picture of what was found in it, if one is wanted.
    """

    photo: Path
    output: Path
    problem: str = ""
    done: bool = False
    shown: Path | None = None


@dataclass(frozen=True)
class Contents:
    """What a folder holds: pictures, other files, and why some folders could not be read, each in order."""

    photos: tuple[Path, ...]
    others: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()


def look(where: Path, leave_out: Path | None = None) -> Contents:
    """The pictures of a folder and its subfolders; hidden ones and the folder ``leave_out`` are skipped.

    Pictures that cannot be read are among them, linked folders among the others. Raises NotDone if there is none.
    """
    if where.is_file():
        return Contents((where,))
    photos, others, problems = [], [], []
    for folder, folders, files in os.walk(where, onerror=lambda error: problems.append(f"cannot be read: {error}")):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if name[0] != "." and not _same(here / name, leave_out))
        others += [here / name for name in folders if (here / name).is_symlink()]  # they may lead in circles
        for file in sorted(name for name in files if name[0] != "."):
            (photos if is_picture(here / file) else others).append(here / file)
    if not photos and not problems:
        raise NotDone(f"there is no photo in {where}.")
    return Contents(tuple(photos), tuple(others), tuple(problems))


def photos(places: Iterable[Path]) -> list[Path]:
    """The pictures that files and folders name, as ``look`` finds them."""
    return [photo for place in places for photo in look(place).photos]


def _same(one: Path, other: Path | None) -> bool:
    return other is not None and other.exists() and one.samefile(other)


def destination(options: Protect) -> Path:
    """The file or folder to write, from -o or the default; WrongArguments if it cannot be written."""
    photo, output, form = options.photo, options.output, options.format
    if photo.is_dir():
        named = photo if photo.name not in ("", "..") else photo.resolve()
        output = output or Path(f"{named}_protected")
        if output.is_file() or (not output.exists() and output.suffix.lower() in WRITTEN):
            raise WrongArguments(f"{photo} is a folder, so OUT must be a folder, but {output} is a file.")
        if _same(photo, output):
            raise WrongArguments(f"{output} is the folder of the photos themselves: choose another one.")
        return output
    if output is None:
        return photo.with_name(f"{photo.stem}_protected{_suffix(photo, form)}")
    if output.is_dir() or not output.suffix:
        return output / f"{photo.stem}{_suffix(photo, form)}"
    _check_format(output)
    if form:
        raise WrongArguments(f"OUT {output} already has a format: omit --format.")
    return output


def _check_format(file: Path) -> None:
    """WrongArguments for a file that cannot be written as a picture."""
    try:
        format_of(file)
    except PhotoError as error:
        raise WrongArguments(f"{error}, or an existing folder.") from None


def _suffix(photo: Path, form: str | None) -> str:
    """The suffix for a format, by default `.png`; `same` is the photo's own if such a file can be written."""
    if form == "same":
        return photo.suffix if photo.suffix.lower() in WRITTEN else ".png"
    return f".{form or 'png'}"


def plan(options: Protect, output: Path, contents: Contents) -> list[PhotoJob]:
    """A job for each photo; one that cannot be done says why in ``problem``."""
    source, form = options.photo, options.format
    if source.is_dir():
        jobs = [
            PhotoJob(photo, output / photo.relative_to(source).with_suffix(_suffix(photo, form)))
            for photo in contents.photos
        ]
    else:
        jobs = [PhotoJob(source, output)]
    given = (*contents.photos, *photos(options.known), *options.target, *filter(None, [options.reference]))
    inputs = {_identity(photo) for photo in given}
    times = Counter(job.output for job in jobs)
    return [_checked(replace(job, shown=_shown(job, options)), options, inputs, times[job.output] > 1) for job in jobs]


def _shown(job: PhotoJob, options: Protect) -> Path | None:
    """The picture of what was found in a photo; WrongArguments for a place among the photos or their outputs."""
    where, source = options.show_faces, options.photo
    if where is None:
        return None
    if source.is_dir():
        own = job.photo.relative_to(source)
        shown = where / own.with_name(f"{own.name}.png")  # a.jpg and a.png are two photos
    else:
        shown = where / f"{job.photo.stem}.png" if where.is_dir() or not where.suffix else where
    _check_format(shown)
    if source.is_dir() and where.resolve().is_relative_to(source.resolve()):
        raise WrongArguments(f"{where} is in the folder of the photos: choose another place for --show-faces.")
    if shown.resolve() in (job.photo.resolve(), job.output.resolve()):
        raise WrongArguments(f"{shown} is the photo or its output: choose another place for --show-faces.")
    return shown


def _identity(path: Path) -> tuple[int, int] | None:
    """What identifies a file under any name; None if there is none."""
    try:
        facts = path.stat()
    except OSError:  # also a link to nothing
        return None
    return facts.st_dev, facts.st_ino


def _checked(job: PhotoJob, options: Protect, inputs: set, twice: bool) -> PhotoJob:
    if twice:
        reason = f"another photo would also become {job.output}: use --format same, or rename one"
    elif (there := _identity(job.output)) and there in inputs:
        reason = f"{job.output} is one of the input photos, which are never overwritten: choose another OUT"
    elif job.output.is_dir():
        reason = f"{job.output} is a folder"
    elif between := [folder for folder in job.output.parents if folder.is_file()]:
        reason = f"{between[0]} is a file, not a folder"
    elif not os.access(folder := next(parent for parent in job.output.absolute().parents if parent.exists()), os.W_OK):
        reason = f"{folder} cannot be written to"
    elif os.path.lexists(job.output) and options.skip_existing:
        return replace(job, done=True)
    elif os.path.lexists(job.output) and not options.overwrite:
        reason = f"{job.output} exists: --overwrite replaces it, --skip-existing skips the photo"
    elif job.shown and (there := _identity(job.shown)) and there in inputs:
        reason = f"{job.shown} is one of the input photos: choose another place for --show-faces"
    elif job.shown and os.path.lexists(job.shown) and not (options.overwrite or options.skip_existing):
        reason = f"{job.shown} exists: --overwrite replaces it"
    else:
        return job
    return replace(job, problem=reason)


@contextlib.contextmanager
def draft(output: Path) -> Iterator[Path]:
    """A hidden path beside ``output`` to write and check before it is moved there.

    At the end it is removed if it is still there, and so are new folders that stayed empty.
    """
    made = [folder for folder in (output.parent, *output.parent.parents) if not folder.exists()]
    output.parent.mkdir(parents=True, exist_ok=True)
    path = temporary(output, "draft")
    try:
        yield path
    except OSError as error:
        if str(error.filename) != str(path):
            raise
        raise OSError(error.errno, error.strerror, str(output)) from error
    finally:
        path.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: something was written
                folder.rmdir()
