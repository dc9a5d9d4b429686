"""Method: the one type that changes a face crop, whatever is behind it (a generator, an attack, a control)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from amtgan_lib import faces, images
from amtgan_lib.datasets.protocol import NOBODY
from amtgan_lib.faces import Box, DoubtfulFace, FaceCrop, SmallFace
from amtgan_lib.images import Change, Photo, PhotoError, open_photo
from amtgan_lib.models.rendering import Fields, Look, Worn, applied
from amtgan_lib.recipes import Recipe
from amtgan_lib.recognizers import Known

if TYPE_CHECKING:
    from amtgan_lib.methods.generator import Guide

SOMEBODY = "one person, whom its file does not name"


class MethodError(PhotoError):
    """A method that is missing or cannot be used this way; one sentence."""


@dataclass(frozen=True)
class Method:
    """What changes a face, and what is known about it.

    name: as tables name it. draw: the changed crop (3,S,S) in [-1,1] of a face and a makeup reference, both crops of
    ``size`` px. recipe: of a trained generator, and with it how its results are written. target: whom it moves faces
    to. recognizers: all that it knew, by name. world: "drawn", or "" for real faces. guide: what an any-target
    generator is told. frame: the matrix of the crop that it wants of a face, where that is not ours (None). wear: the
    look of a face and a reference, begun from another where one is given, of a method that changes a photo by looks.
    knowing: the same method, whose looks hide from known faces. dressed: a face in a look that was found before, and
    identity: says all that a look depends on but the faces, alike in every process. share: of the change, a factor on
    every strength. details: what else its file says (seed, steps, ...).
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
    wear: Callable[[FaceCrop, FaceCrop, Look | None], Worn] | None = None
    knowing: Callable[[Known], Method] | None = None
    dressed: Callable[[FaceCrop, Look], Worn] | None = None
    identity: Callable[[], str] | None = None
    share: float = 1.0
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

    def detect_all(
        self, photo: Photo, added: Sequence[Box] = ()
    ) -> tuple[list[FaceCrop], list[SmallFace | DoubtfulFace]]:
        """The faces of a photo as ``faces.detect_all`` finds them, cropped as the method wants them."""
        crops, left = faces.detect_all(photo, self.size, **({"added": added} if added else {}))
        return [self.framed(photo, crop) for crop in crops], left

    def framed(self, photo: str | Path | Image.Image | Photo, crop: FaceCrop) -> FaceCrop:
        """The face of a photo, cropped as ``faces`` does it, in the method's own frame."""
        return crop if self.frame is None else crop.reframed(open_photo(photo), self.frame(crop))

    def change(self, crop: FaceCrop, reference: FaceCrop, strength: float = 1.0) -> Tensor:
        """The changed crop (3,S,S) in [-1,1]; ``strength`` scales the whole change, 0 gives the crop back."""
        return self.altered(crop, reference, strength).on(crop)

    def altered(
        self, crop: FaceCrop, reference: FaceCrop, strength: float = 1.0, begin: Look | None = None
    ) -> Alteration:
        """What the method does to a face, ready for its crop, its photo or a frame nearby.

        begin: the look of a frame nearby, for a method that wears looks. MethodError for what is not finite.
        """
        if crop.size != self.size or reference.size != self.size:
            raise ValueError(f"expected crops of {self.size} px, got {crop.size} and {reference.size}")
        strength = self.share * strength
        if self.wear is not None:
            look = self.wear(crop, reference, begin)
            painting = Painting(look.fields(strength), look.look)
            self._check(crop, painting.fields.flow, painting.fields.gain)
            return painting
        drawn = self.draw(crop, reference)
        self._check(crop, drawn)  # before it is clamped, which makes a number of infinity
        if self.recipe is not None and self.recipe.stretch_output:
            drawn = images.stretch(drawn[None])[0]
        return Difference(strength * (drawn.detach().float().cpu() - crop.image))

    def wrapped(self, how: Callable[[Callable], Callable]) -> Method:
        """The same method, but ``how`` wraps what draws or wears, also where the method comes to know faces."""
        if self.wear is None:
            return replace(self, draw=how(self.draw))
        wear, knowing = how(self.wear), self.knowing and (lambda known: self.knowing(known).wrapped(how))

        def draw(crop: FaceCrop, reference: FaceCrop) -> Tensor:
            return wear(crop, reference, None).on(crop.image)

        return replace(self, draw=draw, wear=wear, knowing=knowing, dressed=None)

    def _check(self, crop: FaceCrop, *parts: Tensor) -> None:
        if not all(bool(torch.isfinite(part).all()) for part in parts):
            raise MethodError(f"{crop.name}: {self.name} drew a face with values that are not finite")


@dataclass(frozen=True, eq=False)
class Difference:
    """What is added to a face's crop: (3,S,S) in [-1,1] units."""

    added: Tensor

    def on(self, crop: FaceCrop) -> Tensor:
        """The changed crop (3,S,S)."""
        return (crop.image + self.added).clamp(-1, 1)

    def within(self, crop: FaceCrop, photo: Photo) -> Change:
        """What changes in the crop's photo."""
        return crop.change_in(photo, self.on(crop))

    def mixed(self, other: Difference, share: float) -> Difference:
        """From this one (share 0) to another (1)."""
        return Difference(torch.lerp(self.added, other.added, share))


@dataclass(frozen=True, eq=False)
class Painting:
    """What a look moves and multiplies in a face's crop, and, in its photo, at the photo's own size."""

    fields: Fields
    look: Look

    def on(self, crop: FaceCrop) -> Tensor:
        """The changed crop (3,S,S)."""
        return applied(crop.image[None], self.fields, "bicubic")[0]

    def within(self, crop: FaceCrop, photo: Photo) -> Change:
        """What changes in the crop's photo."""
        return crop.painted_in(photo, self.fields)

    def mixed(self, other: Painting, share: float) -> Painting:
        """From this one (share 0) to another (1)."""
        return Painting(self.fields.mixed(other.fields, share), self.look)


Alteration = Difference | Painting
