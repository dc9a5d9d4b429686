"""Which photo plays which part, and the prepared crops that training and evaluation read.

A manifest is a table with one row a photo: set, person, part, split, asset. Parts follow from the photo's
name alone (a checksum decides the split), so any part of the open photographs gives the same answer for
the photos it holds. Prepared crops lie in one npz per preset; item i is always the same photo.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from amtgan_lib import assets, faces
from amtgan_lib.images import open_photo, to_uint8

TEST_SHARE = 3  # one person in three, and one makeup photo in three, is kept for the test
MANIFEST_COLUMNS = ["set", "person", "part", "split", "asset", "parse_asset", "parse_order"]


def _bucket(name: str) -> int:
    return zlib.crc32(name.encode()) % TEST_SHARE


def _celeba_row(path: PurePosixPath) -> dict | None:
    match = re.fullmatch(r"(train|test)_(\w+)", path.stem)
    if not match or path.parent.name != f"{match[1]}_align":
        return None
    person = f"celeba_hq/{match[2]}"
    part = "source" if match[1] == "train" else "other"
    return {"person": person, "part": part, "split": "train" if _bucket(person) else "test"}


def _london_row(path: PurePosixPath) -> dict | None:
    if path.suffix != ".jpg":
        return None
    part = "source" if path.parent.name == "neutral_front" else "other"
    return {"person": f"london/{path.stem[:3]}", "part": part, "split": "train"}


def _paper_target_row(path: PurePosixPath) -> dict | None:
    pairs = {"008793": "005869", "047073": "085807", "055622": "116481", "166607": "169284"}
    part = "target" if path.parent.name == "target_images" else "target_metric"
    return {"person": f"celeba_hq_target/{pairs.get(path.stem, path.stem)}", "part": part, "split": "train"}


def _makeup_row(path: PurePosixPath) -> dict | None:
    if not re.search(r"images|imgs", str(path)) or path.parent.name not in ("makeup", "non-makeup", "no_makeup"):
        return None
    person = f"mt/{path.stem}"
    part = "reference" if path.parent.name == "makeup" else "plain"
    return {"person": person, "part": part, "split": "train" if _bucket(person) else "test"}


# group of the asset table -> set name and the rule for its rows
SETS: dict[str, tuple[str, Callable[[PurePosixPath], dict | None]]] = {
    "celeba_hq": ("celeba_hq", _celeba_row),
    "london": ("london", _london_row),
    "paper_targets": ("celeba_hq_target", _paper_target_row),
    "mt_makeup": ("mt", _makeup_row),
    "mt_no_makeup": ("mt", _makeup_row),
}


def open_manifest(photos: Iterable[assets.Asset], parse_maps: Iterable[assets.Asset] = ()) -> pd.DataFrame:
    """The manifest of the open photographs: rows sorted by set, person and part; one row a photo.

    The same MT photo occurs in several repositories; the copy that has a parse map is taken.
    """
    masks = {(m.repository, PurePosixPath(m.path).parent.name, PurePosixPath(m.path).stem): m for m in parse_maps}
    rows = []
    for photo in photos:
        name, rule = SETS[photo.group]
        path = PurePosixPath(photo.path)
        if (row := rule(path)) is None:
            continue
        mask = masks.get((photo.repository, path.parent.name, path.stem))
        order = "" if mask is None else ("mt" if "SCGAN" in mask.repository else "parsing19")
        rows.append({"set": name, "asset": photo.relative, "parse_asset": mask.relative if mask else "", **row})
        rows[-1]["parse_order"] = order
    table = pd.DataFrame(rows, columns=MANIFEST_COLUMNS).sort_values(
        ["set", "person", "part", "parse_asset", "asset"], ascending=[True, True, True, False, True]
    )
    return table.drop_duplicates(["person", "part"]).reset_index(drop=True)


def available_manifest() -> pd.DataFrame:
    """The manifest of the open photographs that are at hand here (cache or mirror)."""
    photos = [asset for group in SETS for asset in assets.available(group)]
    return open_manifest(photos, assets.available("mt_masks"))


@dataclass(frozen=True)
class FaceBatch:
    """Crops and what belongs to them; ``batch[index]`` selects, ``batch.to(device)`` moves.

    image (N, 3, S, S) in [-1, 1]; masks (N, 3, S, S): lip, skin, eyes; landmarks (N, 68, 2) and points
    (N, 5, 2) as (y, x) crop pixels.
    """

    image: Tensor
    masks: Tensor
    landmarks: Tensor
    points: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index) -> FaceBatch:
        return FaceBatch(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, device: torch.device | str) -> FaceBatch:
        """The same batch on ``device``."""
        return FaceBatch(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))

    @staticmethod
    def of(crops: Iterable[faces.FaceCrop]) -> FaceBatch:
        """Crops of one size as a batch."""
        crops = list(crops)
        return FaceBatch(*(torch.stack([getattr(c, field.name) for c in crops]) for field in fields(FaceBatch)))


@dataclass(frozen=True)
class FaceSet:
    """Prepared crops in memory: a manifest and the arrays behind it, row i of one is item i of the other."""

    manifest: pd.DataFrame
    images: np.ndarray  # (K, S, S, 3) uint8
    masks: np.ndarray  # (K, 3, S, S) bool
    landmarks: np.ndarray  # (K, 68, 2)
    points: np.ndarray  # (K, 5, 2)

    def __len__(self) -> int:
        return len(self.manifest)

    @property
    def size(self) -> int:
        """Side of the crops in pixels."""
        return self.images.shape[1]

    def where(self, **conditions: str) -> FaceSet:
        """The rows whose columns equal the given values."""
        chosen = np.ones(len(self), bool)
        for column, value in conditions.items():
            chosen &= (self.manifest[column] == value).to_numpy()
        return self.rows(np.flatnonzero(chosen))

    def rows(self, index: np.ndarray) -> FaceSet:
        """The rows with these positions, in this order."""
        arrays = (array[index] for array in (self.images, self.masks, self.landmarks, self.points))
        return FaceSet(self.manifest.iloc[index].reset_index(drop=True), *arrays)

    def batch(self, index: Iterable[int] | slice = slice(None)) -> FaceBatch:
        """Items as float tensors, images in [-1, 1]."""
        index = index if isinstance(index, slice) else np.asarray(list(index))
        image = torch.from_numpy(self.images[index]).permute(0, 3, 1, 2).float() / 127.5 - 1
        rest = (torch.from_numpy(array[index]).float() for array in (self.masks, self.landmarks, self.points))
        return FaceBatch(image, *rest)


def prepare(manifest: pd.DataFrame, path: Path, size: int, progress: Callable = iter) -> FaceSet:
    """Crop every photo of a manifest to ``size`` pixels and store the result under ``path`` (npz).

    A photo without a usable face is left out of the set and named in the ``problem`` column of
    ``<path>.problems.csv``; nothing half written stays behind.
    """
    crops, kept, problems = [], [], []
    for position, row in enumerate(progress(manifest.to_dict("records"))):
        try:
            crops.append(_crop(row, size))
            kept.append(position)
        except faces.PhotoError as error:
            problems.append({"asset": row["asset"], "problem": str(error)})
    if not crops:
        raise faces.FaceError(f"none of the {len(manifest)} photos of the manifest has a usable face")
    chosen = manifest.iloc[kept].reset_index(drop=True)
    arrays = {
        "images": np.stack([to_uint8(crop.image) for crop in crops]),
        "masks": np.stack([crop.masks.numpy().astype(bool) for crop in crops]),
        "landmarks": np.stack([crop.landmarks.numpy() for crop in crops]),
        "points": np.stack([crop.points.numpy() for crop in crops]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial.npz")
    np.savez(partial, manifest=np.array(chosen.to_csv(index=False)), **arrays)
    os.replace(partial, path)
    pd.DataFrame(problems, columns=["asset", "problem"]).to_csv(path.with_suffix(".problems.csv"), index=False)
    return FaceSet(chosen, **arrays)


def load(path: Path) -> FaceSet:
    """A set that :func:`prepare` stored."""
    import io

    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run notebook 01_prepare_data first")
    with np.load(path) as stored:
        text = io.StringIO(str(stored["manifest"]))
        manifest = pd.read_csv(text, dtype=str, keep_default_na=False)
        return FaceSet(manifest, *(stored[name] for name in ("images", "masks", "landmarks", "points")))


def _crop(row: dict, size: int) -> faces.FaceCrop:
    photo = open_photo(_file(row["asset"]))
    crop = faces.detect_one(photo, size)
    if not row["parse_asset"]:
        return crop
    from PIL import Image

    parse_map = np.asarray(Image.open(_file(row["parse_asset"])))
    return crop.with_parse(parse_map, photo.size, row["parse_order"])


def _file(relative: str) -> Path:
    asset = next(asset for asset in assets.table() if asset.relative == relative)
    return assets.fetch(asset, progress=False)
