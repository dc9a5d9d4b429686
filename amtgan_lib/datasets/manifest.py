"""Which photo plays which part: the manifest of the open photographs, and what differs between worlds of faces.

A manifest is a table with one row a photo: set, person, part, split, asset. Parts follow from the photo's name alone (a
checksum decides the split), so any part of the open photographs gives the same answer for the photos it holds.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath

import pandas as pd

from amtgan_lib import assets

TEST_SHARE = 3  # one person in three, and one makeup photo in three, is kept for the test
UNKNOWN_ORDER = "unknown"  # of a parse map's classes
MANIFEST_COLUMNS = ["set", "person", "part", "split", "asset", "parse_asset", "parse_order"]


@dataclass(frozen=True)
class World:
    """Where faces come from, and which of its sets plays which part.

    people: two photos each; they are protected, calibrate the thresholds and fill the gallery. targets: two photos each
    of those who may be impersonated. tests: the sets that recognition is measured on. zoos: whose recognisers know it.
    """

    name: str
    people: str
    targets: str
    tests: tuple[str, ...]
    zoos: tuple[str, ...]


WORLDS = {
    "drawn": World("drawn", people="drawn", targets="drawn_target", tests=("drawn",), zoos=("drawn",)),
    "open": World(
        "open",
        people="celeba_hq",
        targets="london",
        tests=("london", "celeba_hq"),
        zoos=("open", "open and own", "published"),
    ),
}
# The same people, with the makeup photos of the archives of MT and LADN that were imported instead of the open ones.
WORLDS["imported"] = replace(WORLDS["open"], name="imported")


def world(name: str) -> World:
    """The world of that name, or ValueError naming those that exist."""
    if name not in WORLDS:
        raise ValueError(f"there is no world {name!r}; there are {', '.join(WORLDS)}")
    return WORLDS[name]


def world_of(manifest: pd.DataFrame) -> World:
    """The world that a manifest's photos belong to: drawn people, or photographs."""
    return WORLDS["drawn" if manifest["set"].str.startswith("drawn").any() else "open"]


def in_test(name: str) -> bool:
    """Whether the person (or makeup photo) of this name is kept for the test; a checksum decides."""
    return zlib.crc32(name.encode()) % TEST_SHARE == 0


def _celeba_row(path: PurePosixPath) -> dict | None:
    match = re.fullmatch(r"(train|test)_(\w+)", path.stem)
    if not match or path.parent.name != f"{match[1]}_align":
        return None
    person = f"celeba_hq/{match[2]}"
    part = "source" if match[1] == "train" else "other"
    return {"person": person, "part": part, "split": "test" if in_test(person) else "train"}


def _london_row(path: PurePosixPath) -> dict | None:
    if path.suffix != ".jpg":
        return None
    part = "source" if path.parent.name == "neutral_front" else "other"
    return {"person": f"london/{path.stem[:3]}", "part": part, "split": "train"}


def _paper_target_row(path: PurePosixPath) -> dict | None:
    pairs = {"008793": "005869", "047073": "085807", "055622": "116481", "166607": "169284"}
    part = "target" if path.parent.name == "target_images" else "target_metric"
    return {"person": f"celeba_hq_target/{pairs.get(path.stem, path.stem)}", "part": part, "split": "train"}


def _makeup_row(path: PurePosixPath, name: str = "mt") -> dict | None:
    if not re.search(r"images|imgs", str(path)) or path.parent.name not in ("makeup", "non-makeup", "no_makeup"):
        return None
    person = f"{name}/{path.stem}"
    part = "reference" if path.parent.name == "makeup" else "plain"
    return {"person": person, "part": part, "split": "test" if in_test(person) else "train"}


# group of the asset table -> set name and the rule for its rows
SETS: dict[str, tuple[str, Callable[[PurePosixPath], dict | None]]] = {
    "celeba_hq": ("celeba_hq", _celeba_row),
    "london": ("london", _london_row),
    "paper_targets": ("celeba_hq_target", _paper_target_row),
    "mt_makeup": ("mt", _makeup_row),
    "mt_no_makeup": ("mt", _makeup_row),
}
ARCHIVES = {"mt_archive": ("mt", _makeup_row), "ladn_archive": ("ladn", partial(_makeup_row, name="ladn"))}


def open_manifest(photos: Iterable[assets.Asset], parse_maps: Iterable[assets.Asset] = ()) -> pd.DataFrame:
    """The manifest of the open photographs: rows sorted by set, person and part; one row a photo.

    The same MT photo occurs in several repositories, pixel for pixel, so a parse map of its name serves every copy;
    the copy in the parse map's own repository is taken before others.
    """
    masks = {PurePosixPath(mask.path).stem: mask for mask in sorted(parse_maps, key=lambda mask: mask.relative)}
    rows = []
    for photo in photos:
        name, rule = (SETS | ARCHIVES)[photo.group]
        path = PurePosixPath(photo.path)
        if (row := rule(path)) is None:
            continue
        mask = masks.get(path.stem) if name == "mt" else None
        order = "" if mask is None else _order(mask)
        rows.append({"set": name, "asset": photo.relative, "parse_asset": mask.relative if mask else "", **row})
        rows[-1] |= {"parse_order": order, "borrowed": mask is not None and mask.repository != photo.repository}
    table = pd.DataFrame(rows, columns=[*MANIFEST_COLUMNS, "borrowed"])
    table = table.sort_values(["set", "person", "part", "borrowed", "asset"])
    return table.drop_duplicates(["person", "part"])[MANIFEST_COLUMNS].reset_index(drop=True)


def _order(mask: assets.Asset) -> str:
    """The order of a parse map's classes; archives of MT differ, so theirs is read off each picture."""
    return UNKNOWN_ORDER if mask.imported else "mt" if "original label order" in mask.role else "parsing19"


def imported_manifest() -> pd.DataFrame:
    """The manifest of the open photographs of people, and of the makeup photos of the imported archives.

    Raises AssetError where no archive was imported.
    """
    archives = [group for group in ARCHIVES if group in assets.groups()]
    if not archives:
        raise assets.AssetError(
            "No makeup photos were imported: get the archive of MT or LADN (data/README.md), then run "
            "`python -m amtgan_lib assets import ARCHIVE`."
        )
    people = available_manifest()
    masks = assets.available("mt_archive_masks") if "mt_archive_masks" in assets.groups() else []
    makeup = open_manifest([photo for group in archives for photo in assets.available(group)], masks)
    return pd.concat([people[people["set"] != "mt"], makeup], ignore_index=True)


def available_manifest() -> pd.DataFrame:
    """The manifest of the open photographs that are at hand here (cache or mirror); all are fetched if none is.

    A mirror may hold a part of the people: then that part is used and nothing is fetched.
    """
    if not any(assets.available(group) for group in SETS):
        assets.fetch_many(asset for group in (*SETS, "mt_masks") for asset in assets.find(group=group))
    photos = [asset for group in SETS for asset in assets.available(group)]
    return open_manifest(photos, assets.available("mt_masks"))


def limited(manifest: pd.DataFrame, people: int) -> pd.DataFrame:
    """The photos of the first ``people`` people of each set, part and split; all of them for 0."""
    if not people:
        return manifest
    names = manifest[["set", "split", "person"]].drop_duplicates()
    kept = names.groupby(["set", "split"], sort=False).head(people)["person"]
    return manifest[manifest["person"].isin(kept)].reset_index(drop=True)
