"""Known faces: of photos that recognisers may hold already, with which they compare a new one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from amtgan_lib import faces
from amtgan_lib.faces import FaceError
from amtgan_lib.images import open_photo
from amtgan_lib.losses import mirrored
from amtgan_lib.recognizers.recognizer import Recognizer

Source = str | Path | Image.Image


class Known:
    """The faces of some photos, whoever they are, in the eyes of any recogniser.

    A protected photo is compared with others of its owner, not with its own original, which nobody else has. To a
    recogniser two photos of a person are only partly alike, and what they do not share is not worth hiding. Each
    recogniser embeds the faces once.
    """

    def __init__(self, images: Tensor, points: Tensor, faceless: Sequence[str] = ()):
        """Images (K,3,S,S) in [-1,1] and points (K,5,2) as ``Recognizer.embed`` takes them.

        faceless: names of photos that were looked at and show no face.
        """
        self.images, self.points, self.faceless = images, points, tuple(faceless)
        self._embedded: dict[str, Tensor] = {}

    @classmethod
    def on(cls, photos: Source | Sequence[Source], size: int = 256) -> Self:
        """All faces of one or more photos, in crops of ``size`` pixels. FaceError where none shows any."""
        several = isinstance(photos, Sequence) and not isinstance(photos, str)
        crops, faceless = [], []
        for photo in map(open_photo, photos if several else [photos]):
            found, _ = faces.detect_all(photo, size)
            crops += found
            faceless += [] if found else [photo.name]
        if not crops:
            raise FaceError(f"{', '.join(faceless)}: no face was found, so nobody is known by these photos")
        return cls(*(torch.stack(part) for part in zip(*((each.image, each.points) for each in crops))), faceless)

    @torch.no_grad()
    def embedded(self, recognizer: Recognizer) -> Tensor:
        """Unit vectors (K,2,D): each face and its mirror image."""
        if recognizer.name not in self._embedded:
            views = zip((self.images, self.points), mirrored(self.images, self.points))
            both = recognizer.embed(*map(torch.cat, views))
            self._embedded[recognizer.name] = both.unflatten(0, (2, -1)).transpose(0, 1)
        return self._embedded[recognizer.name]

    def showing(self, own: Sequence[Tensor], recognizers: Sequence[Recognizer]) -> Self | None:
        """Those faces that these recognisers, on average, take for the one that they embed as ``own`` (D,); None: none.

        At their lowest thresholds; one without thresholds says nothing, and where all say nothing, all faces count.
        """
        margins = [
            self.embedded(recognizer)[:, 0] @ face - min(recognizer.thresholds.values())
            for face, recognizer in zip(own, recognizers, strict=True)
            if recognizer.thresholds
        ]
        same = torch.stack(margins).mean(0) > 0 if margins else torch.ones(len(self.images), dtype=torch.bool)
        if not same.any():
            return None
        shown = type(self)(self.images[same], self.points[same])
        shown._embedded = {name: vectors[same] for name, vectors in self._embedded.items()}
        return shown
