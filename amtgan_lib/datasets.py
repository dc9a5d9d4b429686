"""Which photo plays which part, and the prepared crops that training and evaluation read.

A manifest is a table with one row a photo: set, person, part, split, asset. Parts follow from the photo's
name alone (a checksum decides the split), so any part of the open photographs gives the same answer for
the photos it holds. Prepared crops lie in one npz per preset; item i is always the same photo.
"""

from __future__ import annotations

import io
import os
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from amtgan_lib import assets, faces
from amtgan_lib.images import open_photo, to_tensor, to_uint8

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

    The same MT photo occurs in several repositories, pixel for pixel, so a parse map of its name serves every copy;
    the copy in the parse map's own repository is taken before others.
    """
    masks = {PurePosixPath(mask.path).stem: mask for mask in sorted(parse_maps, key=lambda mask: mask.relative)}
    rows = []
    for photo in photos:
        name, rule = SETS[photo.group]
        path = PurePosixPath(photo.path)
        if (row := rule(path)) is None:
            continue
        mask = masks.get(path.stem) if name == "mt" else None
        order = "" if mask is None else ("mt" if "original label order" in mask.role else "parsing19")
        rows.append({"set": name, "asset": photo.relative, "parse_asset": mask.relative if mask else "", **row})
        rows[-1] |= {"parse_order": order, "borrowed": mask is not None and mask.repository != photo.repository}
    table = pd.DataFrame(rows, columns=[*MANIFEST_COLUMNS, "borrowed"])
    table = table.sort_values(["set", "person", "part", "borrowed", "asset"])
    return table.drop_duplicates(["person", "part"])[MANIFEST_COLUMNS].reset_index(drop=True)


def available_manifest() -> pd.DataFrame:
    """The manifest of the open photographs that are at hand here (cache or mirror); all are fetched if none is.

    A mirror may hold a part of the people: then that part is used and nothing is fetched.
    """
    if not any(assets.available(group) for group in SETS):
        assets.fetch_many(asset for group in (*SETS, "mt_masks") for asset in assets.find(group=group))
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


def prepare(manifest: pd.DataFrame, path: Path, size: int, progress: Callable = iter) -> FaceSet:
    """Crop every photo of a manifest to ``size`` pixels and store the result under ``path`` (npz).

    A photo without a usable face is left out of the set and named, with the reason, in a table beside it
    (``open.npz`` has ``open.problems.csv``). Whatever interrupts this, a set that was there stays as it was and
    nothing half written stays behind. Raises AssetError for a photo that cannot be had.
    """
    files = _files([*manifest["asset"], *manifest["parse_asset"]])
    crops, kept, problems = [], [], []
    for position, row in enumerate(progress(manifest.to_dict("records"))):
        try:
            crops.append(_crop(row, files, size))
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
    _store(path, chosen, arrays, pd.DataFrame(problems, columns=["asset", "problem"]))
    return FaceSet(chosen, **arrays)


def _store(path: Path, manifest: pd.DataFrame, arrays: dict[str, np.ndarray], problems: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, partial_problems = (path.with_name(f".{path.stem}.partial{suffix}") for suffix in (".npz", ".csv"))
    try:
        np.savez(partial, manifest=np.array(manifest.to_csv(index=False)), **arrays)
        problems.to_csv(partial_problems, index=False)
        os.replace(partial_problems, path.with_suffix(".problems.csv"))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        partial_problems.unlink(missing_ok=True)


def load(path: Path) -> FaceSet:
    """A set that :func:`prepare` stored."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run notebook 01_prepare_data first")
    with np.load(path) as stored:
        text = io.StringIO(str(stored["manifest"]))
        manifest = pd.read_csv(text, dtype=str, keep_default_na=False)
        return FaceSet(manifest, *(stored[name] for name in ("images", "masks", "landmarks", "points")))


def _crop(row: dict, files: dict[str, Path], size: int) -> faces.FaceCrop:
    photo = open_photo(files[row["asset"]])
    crop = faces.detect_one(photo, size)
    if not row["parse_asset"]:
        return crop
    with Image.open(files[row["parse_asset"]]) as parse_map:
        return crop.with_parse(np.asarray(parse_map), photo.size, row["parse_order"])


def _files(relatives: Iterable[str]) -> dict[str, Path]:
    """The verified files of a manifest's assets, all fetched at once; empty names are passed over."""
    known = {asset.relative: asset for asset in assets.table()}
    wanted = [relative for relative in dict.fromkeys(relatives) if relative]
    if strangers := [relative for relative in wanted if relative not in known]:
        raise assets.UnknownAsset(f"{strangers[0]} is in no table of assets: make the manifest anew.")
    return dict(zip(wanted, assets.fetch_many(known[relative] for relative in wanted)))


# ---------------------------------------------------------------- parts of an experiment


def default_target(faces_at_hand: FaceSet) -> str:
    """The London person (consenting, CC BY 4.0) with the smallest checksum among those with both photos."""
    london = faces_at_hand.manifest[faces_at_hand.manifest["set"] == "london"]
    both = [person for person, rows in london.groupby("person") if set(rows["part"]) == {"source", "other"}]
    if not both:
        raise faces.FaceError("no London person has both photos here, so there is no target; fetch the group 'london'")
    return min(both, key=lambda person: zlib.crc32(person.encode()))


def training_parts(faces_at_hand: FaceSet, target: str) -> tuple[FaceBatch, FaceSet, FaceSet]:
    """The target's photo for the loss, the sources and the makeup references of training.

    Sources are all photos of training people but the target; test people and the target's other photo, which the
    metric uses, are left out.
    """
    manifest = faces_at_hand.manifest
    chosen = (manifest["split"] == "train") & (manifest["person"] != target)
    chosen &= manifest["part"].isin(["source", "other", "plain"])
    references = faces_at_hand.where(part="reference", split="train")
    loss_photo = faces_at_hand.where(person=target, part=_loss_part(target))
    if not len(loss_photo) or not len(references):
        raise faces.FaceError(f"training needs a photo of {target} and makeup references; have {len(references)}")
    return loss_photo.batch([0]), faces_at_hand.rows(np.flatnonzero(chosen)), references


def target_photo(faces_at_hand: FaceSet, target: str) -> FaceSet:
    """The target's photo for the metric: another one than the loss saw."""
    part = "other" if _loss_part(target) == "source" else "target_metric"
    return faces_at_hand.where(person=target, part=part)


def _loss_part(target: str) -> str:
    return "target" if target.startswith("celeba_hq_target/") else "source"


def test_pairs(manifest: pd.DataFrame, limit: int = 0) -> pd.DataFrame:
    """What is protected and judged: each test person's source photo with a test makeup reference, in turn.

    Columns: probe (file name), person, source, other, reference (assets). ``limit`` keeps the first so many people.
    """
    photos = manifest[(manifest["set"] == "celeba_hq") & (manifest["split"] == "test")]
    wide = photos.pivot(index="person", columns="part", values="asset").dropna()
    references = manifest[(manifest["part"] == "reference") & (manifest["split"] == "test")]["asset"].tolist()
    if not references or not len(wide):
        raise faces.FaceError(f"the test needs people and references; have {len(wide)} and {len(references)}")
    wide = wide.reset_index().rename_axis(columns=None).head(limit or len(wide))
    wide["reference"] = [references[position % len(references)] for position in range(len(wide))]
    wide["probe"] = [person.replace("/", "-") + ".png" for person in wide["person"]]
    return wide[["probe", "person", "source", "other", "reference"]]


def file_of(asset: str) -> Path:
    """The file of a manifest's asset, fetched when it is not at hand."""
    return _files([asset])[asset]


def with_files(pairs: pd.DataFrame) -> pd.DataFrame:
    """Test pairs with the files of their assets in the columns source and reference."""
    columns = ("source", "reference")
    files = _files([asset for column in columns for asset in pairs[column]])
    return pairs.assign(**{column: [str(files[asset]) for asset in pairs[column]] for column in columns})


def file_crop(asset: str) -> faces.FaceCrop:
    """The crop of a manifest's photo, with the masks of its parse map where it has one."""
    table = available_manifest().set_index("asset").loc[[asset]].reset_index()
    row = table.to_dict("records")[0]
    return _crop(row, _files([row["asset"], row["parse_asset"]]), 256)


def limited(manifest: pd.DataFrame, people: int) -> pd.DataFrame:
    """The photos of the first ``people`` people of each set, part and split; all of them for 0."""
    if not people:
        return manifest
    names = manifest[["set", "split", "person"]].drop_duplicates()
    kept = names.groupby(["set", "split"], sort=False).head(people)["person"]
    return manifest[manifest["person"].isin(kept)].reset_index(drop=True)


def found_table(manifest: pd.DataFrame, face_set: FaceSet) -> pd.DataFrame:
    """Photos and faces found, per set."""
    photos, found = (table.groupby("set").size() for table in (manifest, face_set.manifest))
    return pd.DataFrame({"photos": photos, "found": found}).fillna(0).astype(int)


def examples(face_set: FaceSet, each: int) -> list[list[str]]:
    """Assets to look at: ``each`` photos of every set, spread over it."""
    groups = [rows["asset"].tolist() for _, rows in face_set.manifest.groupby("set")]
    return [[assets_of[i * len(assets_of) // each] for i in range(each)] for assets_of in groups]
