"""Method: the one type that changes a face crop, whatever is behind it (a generator, an attack, a control)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor

from amtgan_lib import faces, images
from amtgan_lib.faces import FaceCrop, SmallFace
from amtgan_lib.images import Photo, PhotoError, open_photo
from amtgan_lib.recipes import Recipe

if TYPE_CHECKING:
    from amtgan_lib.methods.generator import Guide

NOBODY = "nobody"
SOMEBODY = "one person, whom its file does not name"


class MethodError(PhotoError):
    """A method that is missing or cannot be used this way; one sentence."""


@dataclass(frozen=True)
class Method:
    """What changes a face, and what is known about it.

    name: as tables name it. draw: the changed crop (3,S,S) in [-1,1] of a face and a makeup reference, both crops of
    ``size`` px. recipe: of a trained generator, and with it how its results are written. target: whom it moves faces
    to. recognizers: all that it knew, by name. world: "drawn", or "" for real faces. guide: what an any-target
    generator is told. frame: the matrix of the crop that it wants of a face, where that is not ours (None). details:
    what else its file says (seed, steps, ...).
    """

    name: str
    draw: Callable[[FaceCrop, FaceCrop], Tensor]
    size: int
    recipe: Recipe | None = None
    target: str = NOBODY
    recognizers: tuple[str, ...] = ()
    world: str = ""
    guide: Guide | None = None
    frame: Callable[[FaceCrop], np.ndarray] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def writes_crops(self) -> bool:
        """Whether results are square crops instead of whole photos: a quirk of the released code."""
        return self.recipe is not None and self.recipe.crop_output

    def reference(self, photo: str | Path | Image.Image | FaceCrop) -> FaceCrop:
        """The face of a makeup photo, as the method wants it; FaceError where there is none. A crop stays as it is."""
        if isinstance(photo, FaceCrop):
            return photo
        photo = open_photo(photo)
        return self.framed(photo, faces.detect_one(photo, self.size))

    def detect_all(self, photo: Photo) -> tuple[list[FaceCrop], list[SmallFace]]:
        """The faces of a photo as ``faces.detect_all`` finds them, cropped as the method wants them."""
        crops, small = faces.detect_all(photo, self.size)
        return [self.framed(photo, crop) for crop in crops], small

    def framed(self, photo: str | Path | Image.Image | Photo, crop: FaceCrop) -> FaceCrop:
        """The face of a photo, cropped as ``faces`` does it, in the method's own frame."""
        return crop if self.frame is None else crop.reframed(open_photo(photo), self.frame(crop))

    def change(self, crop: FaceCrop, reference: FaceCrop, strength: float = 1.0) -> Tensor:
        """The changed crop (3,S,S) in [-1,1]; ``strength`` scales the whole change, 0 gives the crop back."""
        if crop.size != self.size or reference.size != self.size:
            raise ValueError(f"expected crops of {self.size} px, got {crop.size} and {reference.size}")
        drawn = self.draw(crop, reference)
        if self.recipe is not None and self.recipe.stretch_output:
            drawn = images.stretch(drawn[None])[0]
        return (crop.image + strength * (drawn - crop.image)).clamp(-1, 1)
