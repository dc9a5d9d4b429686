"""Files that the user brings: a zip, a folder or one file, sorted into the cache by what they are.

Pinned files are recognised by their sha256. No hash of the authors' archives is published, so their weights are
recognised by file name, and the photographs of MT and LADN by their folders: these are marked as unpinned.
"""

import hashlib
import json
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from amtgan_lib import paths
from amtgan_lib.assets import makeup_archives
from amtgan_lib.assets.catalogue import Asset, AssetError, UnknownAsset, table
from amtgan_lib.assets.store import cache_path
from amtgan_lib.files import sha256_of, write_text, written

# Generator, regularizer, two discriminators and four recognisers, as the published code names its files.
PUBLISHED_NAMES = tuple(f"{stem}.pth" for stem in ("G", "H", "D_A", "D_B", "ir152", "irse50", "mobile_face", "facenet"))
# UnicodeDecodeError: a name that is marked as UTF-8 and is not.
BROKEN_ZIP = (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, NotImplementedError, UnicodeDecodeError)
ENCRYPTED = 0x1  # flag bit of a zip member


@dataclass(frozen=True)
class Imported:
    """One file that an import stored; if not `pinned`, only its name and place say what it is."""

    name: str
    path: Path
    sha256: str
    pinned: bool


@dataclass(frozen=True)
class _Member:
    name: str  # with forward slashes
    bytes: int
    source: Path | tuple[zipfile.ZipFile, zipfile.ZipInfo]

    def open(self) -> IO[bytes]:
        if isinstance(self.source, Path):
            return self.source.open("rb")
        archive, info = self.source
        if info.flag_bits & ENCRYPTED:
            raise AssetError(f"{self.name} in {archive.filename} is encrypted: unpack the zip and import its folder.")
        return archive.open(info)

    @property
    def file_name(self) -> str:
        return PurePosixPath(self.name).name


def import_archive(source: str | Path) -> list[Imported]:
    """Store the known files of a zip, a folder or a file, and return them; all others are ignored.

    No name inside an archive becomes a path on the disk: paths come from the table and from `PUBLISHED_NAMES`.
    Raises `AssetError` if nothing is known, if the archive is damaged, if a file in the place of a pinned asset has
    other bytes, and if two files have the same published name.
    """
    source = Path(source).expanduser()
    try:
        with _members(source) as members:
            stored = _store_all(members, source)
    except BROKEN_ZIP as error:
        raise AssetError(f"{source} is a damaged or unreadable zip ({error}): get it again.") from error
    except OSError as error:
        raise AssetError(f"{source} could not be brought into {paths.CACHE}: {error}.") from error
    if not stored:
        known = ", ".join(PUBLISHED_NAMES)
        raise AssetError(
            f"{source} holds no file of the asset table, none of {known}, and no photos in the folders of MT or LADN: "
            "nothing was stored."
        )
    return stored


@contextmanager
def _members(source: Path) -> Iterator[list[_Member]]:
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.is_file())
        yield [_Member(path.relative_to(source).as_posix(), path.stat().st_size, path) for path in files]
    elif not source.is_file():
        raise AssetError(f"There is no file or folder {source}: check the path.")
    elif source.suffix.lower() == ".zip":  # by its suffix, since PyTorch's own .pth files are zips inside
        with zipfile.ZipFile(source) as archive:
            # No is_dir(), which fails at an empty name until Python 3.12.
            files = [info for info in archive.infolist() if not info.filename.endswith("/")]
            infos = [info for info in files if not stat.S_ISLNK(info.external_attr >> 16)]
            yield [_Member(info.filename.replace("\\", "/"), info.file_size, (archive, info)) for info in infos]
    else:
        yield [_Member(source.name, source.stat().st_size, source)]


def _store_all(members: list[_Member], source: Path) -> list[Imported]:
    _refuse_doubles(members, source)
    assets = table()
    by_place = {asset.relative: asset for asset in assets}
    by_hash = defaultdict(list)
    for asset in assets:
        by_hash[asset.sha256].append(asset)
    sizes = {asset.bytes for asset in assets}  # only what has the size of an asset is worth hashing
    stored, makeup = [], []
    for member in members:
        expected = _expected(member, by_place)
        of_a_set = not expected and makeup_archives.asset_for(member.name, member.bytes, "")
        if expected or of_a_set or member.bytes in sizes or member.file_name in PUBLISHED_NAMES:
            with _staged(member) as (staged, sha256):
                if expected and sha256 != expected.sha256:
                    raise AssetError(
                        f"{member.name} in {source} has sha256 {sha256} where the table says {expected.sha256}: "
                        "it is not the pinned file, remove it and import again."
                    )
                stored += [_store_copy(asset, staged) for asset in by_hash[sha256]]
                if not by_hash[sha256] and member.file_name in PUBLISHED_NAMES:
                    stored.append(_store_published(member, staged, sha256, source))
                if of_a_set:
                    makeup.append(replace(of_a_set, sha256=sha256))
                    stored.append(_store_copy(makeup[-1], staged))
    if makeup:
        makeup_archives.record(makeup)
    return stored


def _refuse_doubles(members: list[_Member], source: Path) -> None:
    counts = Counter(member.file_name for member in members)
    for name in PUBLISHED_NAMES:
        if counts[name] > 1:
            places = ", ".join(member.name for member in members if member.file_name == name)
            raise AssetError(f"{source} holds {name} {counts[name]} times ({places}): import the one you mean alone.")


def _expected(member: _Member, by_place: dict[str, Asset]) -> Asset | None:
    """The asset in whose place the member stands ("<anything>/owner/repo/commit/path")."""
    parts = member.name.split("/")
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((by_place[tail] for tail in tails if tail in by_place), None)


@contextmanager
def _staged(member: _Member) -> Iterator[tuple[Path, str]]:
    """The member's bytes under a temporary name in the cache, with their sha256; gone afterwards unless moved."""
    paths.CACHE.mkdir(parents=True, exist_ok=True)
    staged = paths.CACHE / f"import-{os.getpid()}.part"
    try:
        with member.open() as stream, staged.open("w+b") as file:
            shutil.copyfileobj(stream, file)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        yield staged, sha256
    finally:
        staged.unlink(missing_ok=True)


def _store_copy(asset: Asset, staged: Path) -> Imported:
    with written(cache_path(asset)) as part:
        shutil.copyfile(staged, part)
    return Imported(asset.relative, cache_path(asset), asset.sha256, asset.pinned)


def _store_published(member: _Member, staged: Path, sha256: str, source: Path) -> Imported:
    final = _published_folder() / member.file_name
    final.parent.mkdir(parents=True, exist_ok=True)
    facts = {"sha256": sha256, "bytes": member.bytes, "imported_from": f"{source.name}: {member.name}"}
    record = published() | {member.file_name: facts}
    os.replace(staged, final)
    write_text(json.dumps(record, indent=2) + "\n", _record())
    return Imported(member.file_name, final, sha256, pinned=False)


def _published_folder() -> Path:
    return paths.CACHE / "published"


def _record() -> Path:
    return _published_folder() / "published.json"


def published() -> dict[str, dict[str, str | int]]:
    """The imported files of the authors' archives: file name -> sha256, bytes and where it was imported from."""
    return json.loads(_record().read_text(encoding="utf-8")) if _record().is_file() else {}


def published_weights(name: str) -> Path:
    """The imported file of published weights, "G" or "G.pth", unchanged since its import; unpinned.

    Raises `UnknownAsset` for a name that the authors' archives do not have, `AssetError` where it was not imported.
    """
    file_name = name if name.endswith(".pth") else f"{name}.pth"
    if file_name not in PUBLISHED_NAMES:
        raise UnknownAsset(f"No published weights are called {name!r}: the names are {', '.join(PUBLISHED_NAMES)}.")
    path, facts = _published_folder() / file_name, published().get(file_name)
    if facts is None or not path.is_file():
        raise AssetError(
            f"The published weights {file_name} are not at hand: get the authors' archive through the links of "
            "https://github.com/CGCL-codes/AMT-GAN, then run `python -m amtgan_lib assets import assets.zip`."
        )
    if sha256_of(path) != facts["sha256"]:
        raise AssetError(f"{path} has changed since its import (sha256 {sha256_of(path)}): import it again.")
    return path
