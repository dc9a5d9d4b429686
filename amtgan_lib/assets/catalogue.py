"""The table of assets: the pinned rows of the package and, added in memory, photographs of a mirror and of imports."""

import csv
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from amtgan_lib import paths
from amtgan_lib.errors import WrongArguments, did_you_mean

MIRROR_VARIABLE = "AMTGAN_ASSET_MIRROR"
PINNED_TABLE = Path(__file__).resolve().parents[1] / "assets_table.csv"
URL_BASE = "https://raw.githubusercontent.com"

# The only files that a mirror may add: pictures and landmark texts, which are decoded but never run.
# Weights are pinned here or not used at all: a file of weights decides what the results say.
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tem"})
MANIFEST_COLUMNS = ("repository", "commit", "path", "bytes", "sha256", "licence", "role")
OTHER_GROUP = "other"  # photographs of a mirror from a folder that no pinned row knows


class AssetError(Exception):
    """One sentence: what arrived, what was expected, what to do."""


class UnknownAsset(AssetError, WrongArguments):
    """A name that is not in the table."""


@dataclass(frozen=True)
class Asset:
    """One file at one commit of one repository; `pinned` says whether its hash stands in the package's own table."""

    repository: str
    commit: str
    path: str
    bytes: int
    sha256: str
    licence: str
    role: str
    group: str
    name: str = ""
    pinned: bool = True

    @property
    def relative(self) -> str:
        """The place in a mirror or in the cache: "owner/repo/commit/path"."""
        return f"{self.repository}/{self.commit}/{self.path}"

    @property
    def url(self) -> str:
        """The pinned address."""
        return f"{URL_BASE}/{quote(self.relative)}"

    @property
    def home(self) -> str:
        """Where to read its terms."""
        return "imported here" if self.imported else f"https://github.com/{self.repository}/tree/{self.commit}"

    @property
    def imported(self) -> bool:
        """Whether it is from an archive of the user's: without an address, it can only be imported again."""
        return self.repository.startswith("imported/")

    @property
    def folder(self) -> tuple[str, str]:
        """Repository and folder, whatever the commit: the files of one folder belong to one group."""
        return self.repository, str(PurePosixPath(self.path).parent)


def mirror() -> Path | None:
    """The mirror folder, or None without one. Raises `AssetError` where the variable names no folder."""
    value = os.environ.get(MIRROR_VARIABLE, "").strip()
    if not value:
        return None
    folder = Path(value).expanduser().resolve()
    if not folder.is_dir():
        raise AssetError(f"{MIRROR_VARIABLE} is {value!r}, which is not a folder: correct it or unset it.")
    return folder


def table() -> tuple[Asset, ...]:
    """All assets: the pinned ones, then photographs that only the mirror's MANIFEST.csv lists, then imported ones."""
    return _table(mirror()) + imported()


def imported() -> tuple[Asset, ...]:
    """The makeup photographs of the imported archives and their parse maps, in groups `mt_archive` and so on."""
    file = imported_table()
    return _imported(file, file.stat().st_mtime_ns) if file.is_file() else ()


def imported_table() -> Path:
    """Where the rows of the imported archives are."""
    return paths.CACHE / "imported.csv"


@functools.lru_cache(maxsize=1)
def _imported(file: Path, changed: int) -> tuple[Asset, ...]:
    assets = tuple(_read(file, pinned=False))
    names = (asset.repository.removeprefix("imported/") + "_archive" for asset in assets)
    masks = ("_masks" if asset.path.startswith("segs/") else "" for asset in assets)
    return tuple(replace(asset, group=name + mask) for asset, name, mask in zip(assets, names, masks))


@functools.lru_cache
def _table(mirror_folder: Path | None) -> tuple[Asset, ...]:
    pinned = tuple(_read(PINNED_TABLE, pinned=True))
    manifest = mirror_folder / "MANIFEST.csv" if mirror_folder else None
    if manifest is None or not manifest.is_file():
        return pinned
    known = {asset.relative for asset in pinned}
    group_of = {asset.folder: asset.group for asset in pinned if _is_photo(asset.path)}
    extra = {
        asset.relative: replace(asset, group=group_of.get(asset.folder, OTHER_GROUP))
        for asset in _read(manifest, pinned=False)
        if asset.relative not in known and _is_photo(asset.path)
    }
    return pinned + tuple(extra.values())


def _is_photo(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in PHOTO_SUFFIXES


def _read(file: Path, pinned: bool) -> Iterator[Asset]:
    number = 1
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            for number, row in enumerate(csv.DictReader(stream), start=2):  # noqa: B007 (the message needs it)
                yield _asset(row, pinned)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise AssetError(f"Line {number} of {file} is no row of an asset table ({error}): correct the file.") from error


def _asset(row: dict[str, str], pinned: bool) -> Asset:
    facts = {key: row[key] for key in MANIFEST_COLUMNS} | {"bytes": int(row["bytes"])}
    own = {"group": row["group"], "name": row["name"]} if pinned else {"group": OTHER_GROUP}
    asset = Asset(**facts, **own, pinned=pinned)
    parts = asset.relative.split("/")
    # The place becomes a path on this disk, so a row may not climb out of the folder it is read for.
    if len(parts) < 4 or not all(parts) or {".", ".."} & set(parts) or "\\" in asset.relative:
        raise ValueError(f"{asset.relative!r} is not owner/repo/commit/path")
    if not re.fullmatch("[0-9a-f]{64}", asset.sha256):
        raise ValueError(f"{asset.sha256!r} is not a sha256 in hexadecimal")
    return asset


def groups() -> tuple[str, ...]:
    """The names of the groups, in the order of the table."""
    return tuple(dict.fromkeys(asset.group for asset in table()))


def find(group: str | None = None, path_glob: str | None = None) -> list[Asset]:
    """Assets that fit every given condition, in the order of the table; an empty list where none does.

    `path_glob` is compared with the path inside the repository; `*` crosses folders ("*/neutral_front/*.jpg").
    Raises `UnknownAsset` for a group that does not exist, since an empty answer would hide the misspelling.
    """
    if group is not None and group not in groups():
        raise UnknownAsset(f"There is no group {group!r} of assets: the groups are {', '.join(groups())}.")
    return [
        asset
        for asset in table()
        if (group is None or asset.group == group) and (path_glob is None or fnmatchcase(asset.path, path_glob))
    ]


def get(name: str) -> Asset:
    """The asset that code refers to by `name`, such as "edgeface_xs". Raises `UnknownAsset`."""
    named = {asset.name: asset for asset in table() if asset.name}
    if name in named:
        return named[name]
    raise UnknownAsset(f"No asset is called {name!r}: {did_you_mean(name, named, 'the names are')}")
