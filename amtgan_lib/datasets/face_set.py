"""Prepared crops, which training and evaluation read: one npz per preset; item i is always the same photo."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from amtgan_lib import assets, faces
from amtgan_lib.compute import side_by_side
from amtgan_lib.datasets import drawn
from amtgan_lib.datasets.drawn import Progress
from amtgan_lib.datasets.manifest import UNKNOWN_ORDER, world_of
from amtgan_lib.files import written
from amtgan_lib.images import PhotoError, open_photo, to_tensor, to_uint8

PARSE_LIKENESS = 0.55  # of 7 photos of MT, the right order had 0.76 and more, each other 0.41 at most


@dataclass(frozen=True)
class FaceBatch:
    """Crops and what belongs to them; ``batch[index]`` selects, ``batch.to(device)`` moves.

    image (N, 3, S, S) in [-1, 1]; masks (N, 3, S, S): lip, skin, eyes; landmarks (N, 68, 2) and points
    (N, 5, 2) as (y, x) crop pixels. The points stay on the CPU: alignment decides by their values.
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
        """The same batch on ``device``, all but its points; a GPU is not waited for."""
        return FaceBatch(*(_sent(part, device) for part in (self.image, self.masks, self.landmarks)), self.points)

    @staticmethod
    def joined(*batches: FaceBatch) -> FaceBatch:
        """Batches of one size and device, one after the other."""
        return FaceBatch(*(torch.cat([getattr(b, field.name) for b in batches]) for field in fields(FaceBatch)))

    @staticmethod
    def of(crops: Iterable[faces.FaceCrop]) -> FaceBatch:
        """Crops of one size as a batch."""
        crops = list(crops)
        return FaceBatch(*(torch.stack([getattr(c, field.name) for c in crops]) for field in fields(FaceBatch)))


def _sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    if torch.device(device).type == "cuda" and not tensor.is_cuda:
        # From other memory the copy would wait for all work before it.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


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

    def resized(self, size: int) -> FaceSet:
        """The same faces at another size: images area-averaged, masks by majority, points scaled along."""
        if size == self.size:
            return self
        factor = size / self.size
        box = Image.Resampling.BOX
        images = [np.asarray(Image.fromarray(image).resize((size, size), box)) for image in self.images]
        masks = torch.from_numpy(self.masks).float()
        masks = torch.nn.functional.interpolate(masks, (size, size), mode="area") >= 0.5
        landmarks, points = ((array + 0.5) * factor - 0.5 for array in (self.landmarks, self.points))
        return FaceSet(self.manifest, np.stack(images), masks.numpy(), landmarks.round(), points)

    def batch(self, index: Iterable[int] | slice = slice(None)) -> FaceBatch:
        """Items as float tensors, images in [-1, 1]."""
        index = index if isinstance(index, slice) else np.asarray(list(index))
        rest = (torch.from_numpy(array[index]).float() for array in (self.masks, self.landmarks, self.points))
        return FaceBatch(to_tensor(self.images[index]), *rest)


def prepare(manifest: pd.DataFrame, path: Path, size: int, progress: Progress = iter) -> FaceSet:
    """Crop every photo of a manifest to ``size`` pixels and store the result under ``path`` (npz).

    A photo without a usable face is left out of the set and named, with the reason, in a table beside it
    (``open.npz`` has ``open.problems.csv``). Whatever interrupts this, a set that was there stays as it was and
    nothing half written stays behind. Raises AssetError for a photo that cannot be had.
    """
    paths = files([*manifest["asset"], *manifest["parse_asset"]])

    def cropped(row: dict[str, str]) -> faces.FaceCrop | str:
        try:
            return _crop(row, paths, size)
        except PhotoError as error:
            return str(error)

    tried = side_by_side(cropped, manifest.to_dict("records"), progress)
    problems = [{"asset": a, "problem": said} for a, said in zip(manifest["asset"], tried) if isinstance(said, str)]
    crops = [crop for crop in tried if not isinstance(crop, str)]
    if not crops:
        raise faces.FaceError(f"none of the {len(manifest)} photos of the manifest has a usable face")
    chosen = manifest[[not isinstance(crop, str) for crop in tried]].reset_index(drop=True)
    arrays = {
        "images": np.stack([to_uint8(crop.image) for crop in crops]),
        "masks": np.stack([crop.masks.numpy().astype(bool) for crop in crops]),
        "landmarks": np.stack([crop.landmarks.numpy() for crop in crops]),
        "points": np.stack([crop.points.numpy() for crop in crops]),
    }
    facts = {"manifest": np.array(chosen.to_csv(index=False)), "drawings": np.array(drawn.folder().name)}
    with written(path) as partial, written(path.with_suffix(".problems.csv")) as partial_problems:
        np.savez(partial, **facts, **arrays)
        pd.DataFrame(problems, columns=["asset", "problem"]).to_csv(partial_problems, index=False)
    return FaceSet(chosen, **arrays)


def load(path: Path, zoo: str = "") -> FaceSet:
    """A set that :func:`prepare` stored.

    ``zoo`` names the set of recognisers that it will meet: ValueError where they recognise another world's faces, and
    where drawn faces were prepared from other drawings than this code makes, and for a file that is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run notebook 01_prepare_data first")
    try:
        with np.load(path) as stored:
            names = ("images", "masks", "landmarks", "points")
            text, drawings = str(stored["manifest"]), str(stored.get("drawings", ""))
            arrays = [stored[name] for name in names]
        manifest = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        world = world_of(manifest)
        if any(len(array) != len(manifest) for array in arrays):
            raise ValueError("its parts have other numbers of faces")
    except Exception as error:  # BadZipFile, OSError, KeyError, ValueError, MemoryError, ... by the bytes
        raise ValueError(f"{path} is damaged ({error}): run notebook 01_prepare_data again") from error
    if zoo and zoo not in world.zoos:
        raise ValueError(f"{path.name} holds {world.name} faces: take a zoo of {', '.join(world.zoos)}, not {zoo}")
    if world.name == "drawn" and drawings != drawn.folder().name:
        raise ValueError(f"{path} was prepared from other drawings than these: run notebook 01_prepare_data again")
    return FaceSet(manifest, *arrays)


def _crop(row: dict, files: dict[str, Path], size: int) -> faces.FaceCrop:
    photo = open_photo(files[row["asset"]])
    crop = faces.detect_one(photo, size)
    if not row["parse_asset"]:
        return crop
    parse_map = _parse_map(files[row["parse_asset"]])
    if row["parse_order"] != UNKNOWN_ORDER:
        return crop.with_parse(parse_map, photo.size, row["parse_order"])
    readings = [crop.with_parse(parse_map, photo.size, order) for order in faces.PARSE_ORDERS]
    best = max(readings, key=lambda reading: _likeness(reading, crop))
    if _likeness(best, crop) < PARSE_LIKENESS:
        raise faces.FaceError(f"{photo.name}: in no known order of classes does its parse map show lips and skin there")
    return best


def _parse_map(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as picture:
            return np.asarray(picture if picture.mode in ("L", "P") else picture.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:  # as Pillow has it for a damaged file
        raise PhotoError(f"{file.name}: this parse map cannot be read: {error}") from error


def _likeness(reading: faces.FaceCrop, crop: faces.FaceCrop) -> float:
    """How far lips and skin of a parse map are where the landmarks have them: mean intersection over union, 0 to 1."""
    both, either = (reading.masks * crop.masks)[:2], torch.maximum(reading.masks, crop.masks)[:2]
    return float((both.sum((1, 2)) / either.sum((1, 2)).clamp(min=1)).mean())


def files(relatives: Iterable[str], progress: Progress = iter) -> dict[str, Path]:
    """The files of a manifest's assets, verified and fetched or drawn all at once; empty names are passed over."""
    wanted = [relative for relative in dict.fromkeys(relatives) if relative]
    drawings = drawn.files([relative for relative in wanted if drawn.is_drawn(relative)], progress)
    wanted = [relative for relative in wanted if relative not in drawings]
    known = {asset.relative: asset for asset in assets.table()} if wanted else {}
    if strangers := [relative for relative in wanted if relative not in known]:
        raise assets.UnknownAsset(f"{strangers[0]} is in no table of assets: make the manifest anew.")
    return drawings | dict(zip(wanted, assets.fetch_many(known[relative] for relative in wanted)))


def file_of(asset: str) -> Path:
    """The file of a manifest's asset, fetched when it is not at hand."""
    return files([asset])[asset]


def parsed_crops(manifest: pd.DataFrame) -> Callable[[str | Path, int], faces.FaceCrop]:
    """A function (file, size) -> crop that gives a manifest's photo the masks of its parse map, where it has one.

    Other files are cropped with masks from their landmarks. FaceError where a file has no face.
    """
    with_map = manifest[manifest["parse_asset"] != ""]
    paths = files(with_map["asset"])
    rows = {str(paths[row["asset"]]): row for row in with_map.to_dict("records")}

    def crop(file: str | Path, size: int) -> faces.FaceCrop:
        row = rows.get(str(file))
        return _crop(row, files([row["asset"], row["parse_asset"]]), size) if row else faces.detect_one(file, size)

    return crop


def file_crop(manifest: pd.DataFrame, asset: str, size: int = 256) -> faces.FaceCrop:
    """The crop of a manifest's photo, with the masks of its parse map where it has one."""
    return parsed_crops(manifest[manifest["asset"] == asset])(file_of(asset), size)
