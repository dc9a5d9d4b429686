"""What a run is made from besides its configuration, in words that a checkpoint keeps and another run is held to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from torch import Tensor

from amtgan_lib.datasets import FaceBatch, FaceSet
from amtgan_lib.recognizers import Recognizer


def of_judges(target: FaceBatch, recognizers: Iterable[Recognizer]) -> dict[str, str]:
    """Whom a run is for, and by whose eyes."""
    weights = {f"weights of {recognizer.name}": _short(recognizer.weights_sha256) for recognizer in recognizers}
    return {"target": _digest([target.image, target.points]), **weights}


def of_data(sources: FaceSet, references: FaceSet) -> dict[str, str]:
    """The faces that the run is trained on."""
    sets = {"sources": sources, "references": references}
    return {name: _digest([part.images, part.masks, part.landmarks, part.points]) for name, part in sets.items()}


def _digest(arrays: Iterable[Tensor | np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array.cpu() if isinstance(array, Tensor) else array)
        digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return _short(digest.hexdigest())


def _short(sha256: str) -> str:
    return f"sha256 {sha256[:12]}"
