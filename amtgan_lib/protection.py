"""Whole photo in, whole photo out: every face protected by a trained generator, everything else left as it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from amtgan_lib import faces as face_finder
from amtgan_lib import images
from amtgan_lib.faces import FaceCrop
from amtgan_lib.images import Photo, PhotoError, open_photo
from amtgan_lib.models import Generator, load_generator
from amtgan_lib.recipes import Recipe, recipe


class ProtectionError(PhotoError):
    """A photo that could not be protected; nothing was written. One sentence for its owner."""


@dataclass(frozen=True)
class FaceReport:
    """What was done to one face: its box (x0, y0, x1, y1) in the photo, and its crop's mean change in 8-bit levels."""

    box: tuple[float, float, float, float]
    mean_change: float


@dataclass(frozen=True)
class Protected:
    """A protected photo: the picture (same size and mode as the photo) and one report a face."""

    image: Image.Image
    faces: tuple[FaceReport, ...]
    photo: Photo

    def save(self, path: str | Path, keep_metadata: bool = True) -> Path:
        """Write the picture, moved into place when complete; EXIF is kept unless told otherwise.

        The ICC profile is always kept: without it the same pixels would show other colours.
        JPEG is written at quality 95 without chroma subsampling: coarser files wash the protection out.
        """
        options: dict[str, Any] = {}
        if keep_metadata and self.photo.exif:
            options["exif"] = self.photo.exif
        if self.photo.icc_profile:
            options["icc_profile"] = self.photo.icc_profile
        if Path(path).suffix.lower() in (".jpg", ".jpeg"):
            options |= {"quality": 95, "subsampling": 0}
        return images.save(path, self.image, **options)


@dataclass(frozen=True)
class Protector:
    """A method and what belongs to it; make one with :func:`load` and use it for many photos.

    ``method`` gives the changed crop (3, S, S) in [-1, 1] of a face and a makeup reference. A generator is one
    (:func:`of_generator`); a gradient attack, which looks at no reference, is another.
    """

    method: Callable[[FaceCrop, FaceCrop], Tensor]
    recipe: Recipe
    size: int
    facts: dict[str, Any]

    def reference(self, photo: str | Path | Image.Image | FaceCrop) -> FaceCrop:
        """The face of a makeup photo, at the generator's size."""
        if isinstance(photo, FaceCrop):
            return photo
        return face_finder.detect_one(photo, self.size)

    def change(self, crop: FaceCrop, reference: FaceCrop, strength: float = 1.0) -> Tensor:
        """The protected crop (3, S, S) in [-1, 1]; ``strength`` scales the whole change, 0 gives the crop back."""
        if crop.size != self.size or reference.size != self.size:
            raise ValueError(f"expected crops of {self.size} px, got {crop.size} and {reference.size}")
        drawn = self.method(crop, reference)
        if self.recipe.stretch_output:
            drawn = images.stretch(drawn[None])[0]
        return (crop.image + strength * (drawn - crop.image)).clamp(-1, 1)

    def protect(
        self,
        photo: str | Path | Image.Image | np.ndarray | Photo,
        reference: str | Path | Image.Image | FaceCrop,
        *,
        strength: float = 1.0,
        faces: Literal["all", "largest"] = "all",
    ) -> Protected:
        """Protect a photo's faces. Raises ProtectionError (or PhotoError) when there is none, or one fails."""
        if faces not in ("all", "largest"):
            raise ProtectionError(f"faces is {faces!r}; expected 'all' or 'largest'")
        if not 0 <= strength <= 1:
            raise ProtectionError(f"strength is {strength}; expected a number from 0 (no change) to 1")
        photo, makeup = open_photo(photo), self.reference(reference)
        crops = face_finder.detect(photo, self.size)
        if not crops:
            raise ProtectionError(f"{photo.name}: no face was found, so nothing was protected")
        chosen = crops if faces == "all" else crops[:1]
        changed = [self.change(crop, makeup, strength) for crop in chosen]
        if self.recipe.crop_output:
            return self._as_crop(photo, chosen[0], changed[0])
        return self._pasted(photo, chosen, changed)

    def _pasted(self, photo: Photo, crops: list[FaceCrop], changed: list[Tensor]) -> Protected:
        change = sum(crop.change(photo, image) for crop, image in zip(crops, changed))
        reports = tuple(_report(crop, image) for crop, image in zip(crops, changed))
        return Protected(photo.with_change(change), reports, photo)

    def _as_crop(self, photo: Photo, crop: FaceCrop, changed: Tensor) -> Protected:
        """The quirk: the largest face as a square crop, as the released code saves it."""
        return Protected(images.to_pil(changed), (_report(crop, changed),), photo)


def _report(crop: FaceCrop, changed: Tensor) -> FaceReport:
    return FaceReport(crop.box, float((changed - crop.image).abs().mean() * 127.5))


def of_generator(network: Generator, how: Recipe, size: int, facts: dict[str, Any]) -> Protector:
    """A protector that draws with a generator trained at ``size`` pixels by the recipe ``how``."""

    @torch.no_grad()
    def draw(crop: FaceCrop, reference: FaceCrop) -> Tensor:
        sides = (crop.masks, reference.masks, crop.landmarks, reference.landmarks)
        return network(crop.image[None], reference.image[None], *(side[None] for side in sides))[0].float()

    return Protector(draw, how, size, facts)


def load(generator: str | Path) -> Protector:
    """A protector from a generator file that notebook 03 wrote; ProtectionError where it is none."""
    try:
        network, facts = load_generator(generator)
        if missing := {"recipe", "size"} - set(facts):
            raise ValueError(
                f"{generator} does not say its {' and '.join(sorted(missing))}; train it by notebook 03_train"
            )
        return of_generator(network, recipe(facts["recipe"]), facts["size"], facts)
    except ValueError as error:
        raise ProtectionError(str(error)) from None


def protect(
    photo: str | Path | Image.Image | np.ndarray,
    reference: str | Path | Image.Image | None = None,
    *,
    generator: str | Path | Protector | None = None,
    strength: float = 1.0,
    faces: Literal["all", "largest"] = "all",
) -> Protected:
    """Protect the faces of ``photo`` with the makeup of ``reference``.

    ``generator`` is a file that notebook 03 wrote (``results/runs/<id>/train/<recipe>/generator.safetensors``) or a
    loaded :class:`Protector`; both it and the reference must be named. One that was trained on drawn faces warns: it is
    no protection from recognisers of real people.
    """
    if generator is None or reference is None:
        missing = "generator" if generator is None else "reference"
        raise ProtectionError(
            f"name a {missing}: protect(photo, reference='makeup.jpg', generator='generator.safetensors'); "
            "`python -m amtgan_lib pipeline --preset open-small` trains a generator on photographs"
        )
    protector = generator if isinstance(generator, Protector) else load(generator)
    if protector.facts.get("world") == "drawn":
        warnings.warn(
            "this generator was trained on drawn faces: it protects nobody from recognisers of real people",
            stacklevel=2,
        )
    return protector.protect(photo, reference, strength=strength, faces=faces)


def protect_pairs(
    protector: Protector, pairs: pd.DataFrame, folder: Path, progress: Callable[[Iterable], Iterable] = iter
) -> pd.DataFrame:
    """Protect each row's photo with its reference and write PNGs under ``folder``; one report row a photo.

    pairs: columns probe (file name), source and reference (files); others are carried along. The report adds clean
    and protected (files in one framing) and the mean change; a photo that fails has its ``problem`` and no file. Where
    the recipe saves crops (a quirk), the clean crop is written beside it under ``clean/``, and that of a true makeup
    transfer (column truth) under ``truth/``, since a picture can only be compared in its own framing.
    """
    references = {file: protector.reference(file) for file in pairs["reference"].unique()}
    reports = []
    for row in progress(list(pairs.itertuples(index=False))):
        report = {**row._asdict(), "clean": str(row.source), "protected": "", "problem": "", "mean_change": np.nan}
        try:
            result = protector.protect(row.source, references[row.reference], faces="largest")
        except PhotoError as error:
            report["problem"] = str(error)
        else:
            report["protected"] = str(result.save(folder / row.probe))
            report["mean_change"] = result.faces[0].mean_change
            if protector.recipe.crop_output:
                crop = face_finder.detect_one(row.source, protector.size)
                report["clean"] = str(images.save(folder / "clean" / row.probe, crop.image))
                if truth := report.get("truth"):
                    report["truth"] = str(images.save(folder / "truth" / row.probe, crop.resample(truth)))
        reports.append(report)
    return pd.DataFrame(reports)
