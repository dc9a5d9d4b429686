"""Picture files in: faces as a recogniser gets them, and what protection did to the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from amtgan_lib import faces, losses
from amtgan_lib.compute import side_by_side
from amtgan_lib.datasets import Progress
from amtgan_lib.images import Photo, in_levels, open_photo, save, stretch, to_tensor, to_uint8
from amtgan_lib.losses import Perceptual
from amtgan_lib.recognizers import Recognizer, embed_many
from amtgan_lib.reporting.results import REGIONS

VIEWED = 512  # pixels that an eye can tell apart across 6 degrees, and more

# Of a whole photo, or (a tensor) a face in its own frame, as ``framed`` gives it: several numbers need it.
Picture = str | Path | Photo | Image.Image | np.ndarray | Tensor


class Place(NamedTuple):
    """Where a face was found: its box (x0, y0, x1, y1) in a picture of ``photo_size`` (width, height) pixels."""

    box: tuple[float, float, float, float]
    photo_size: tuple[int, int] | None


@dataclass(frozen=True)
class Probes:
    """Faces read from files: crops (N,3,S,S) in [-1,1], points (N,5,2), and which files had a face at all.

    A file in which no face is found keeps a black crop and ``found`` False: its embedding is NaN, and it counts as
    neither accepted as the target nor hidden from its owner (never in the method's favour). ``places`` has N of them
    (None without a face) where the probes were read from files.
    """

    image: Tensor
    points: Tensor
    found: np.ndarray
    places: Sequence[Place | None] = ()

    def __len__(self) -> int:
        return len(self.image)


def read_probes(
    files: Iterable[str | Path], size: int = 256, clean: Probes | None = None, progress: Progress = iter
) -> Probes:
    """Find the largest face of every file; one that is too small to be aligned counts as none.

    ``clean`` are the probes of as many clean photos: in a file of its clean photo's size the face in the same place is
    taken. If it is gone, that is none: somebody else in the photo would look like a success. A file of another size
    may show another part of the photo, and its largest face is taken. Raises ValueError for other numbers of files.
    """
    files = list(files)
    before = [None] * len(files) if clean is None else clean.places
    places = list(zip(files, before, strict=True))

    def read(place: tuple[str | Path, Place | None]) -> tuple[Tensor, Tensor, Place | None]:
        face = _face(place[0], size, place[1])
        if face is None:
            return torch.full((3, size, size), -1.0), torch.zeros(5, 2), None
        return face.image, face.points, Place(face.box, face.photo_size)

    crops, points, found = zip(*side_by_side(read, places, progress))
    return Probes(torch.stack(crops), torch.stack(points), np.array([place is not None for place in found]), found)


def _face(file: str | Path, size: int, before: Place | None) -> faces.FaceCrop | None:
    """The largest face of a file or, in one of the size that ``before`` is from, the face in that place."""
    try:
        crops = faces.detect(file, size, every_way=False)
    except faces.FaceError:  # a spoilt picture may show a speck of a face
        return None
    if not crops or before is None or crops[0].photo_size != before.photo_size:
        return crops[0] if crops else None
    nearest = max(crops, key=lambda face: faces.overlap(face.box, before.box))
    return nearest if faces.overlap(nearest.box, before.box) > faces.ONE_FACE else None


def embed(probes: Probes, recognizer: Recognizer, aligned: bool = True) -> np.ndarray:
    """Unit vectors (N, D); NaN rows where no face was found. ``aligned=False`` shows the whole crop (a quirk).

    Raises ValueError as ``unit_vectors``.
    """
    # A missing face keeps its row: any valid points will do, the row is overwritten below.
    anywhere = torch.as_tensor(faces.CROP_TEMPLATE[:, ::-1].copy() * probes.image.shape[-1], dtype=torch.float32)
    points = torch.where(torch.from_numpy(probes.found)[:, None, None], probes.points, anywhere)
    vectors = embed_many(recognizer, probes.image, points if aligned else None).cpu().numpy()
    vectors[~probes.found] = np.nan
    unit_vectors(vectors[probes.found], recognizer.name)
    return vectors


def unit_vectors(vectors: np.ndarray, name: str) -> np.ndarray:
    """The same vectors (N, D) of a recogniser; ValueError unless each has the length 1.

    A network that breaks down gives zeros or NaN. Either is far from every face, and would pass for protection.
    """
    if vectors.ndim != 2 or not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
        raise ValueError(f"the recogniser {name} gave no usable answer: its vectors do not have the length 1")
    return vectors


# ---------------------------------------------------------------- pictures


def quality(clean: str | Path, protected: str | Path) -> dict[str, float]:
    """PSNR (dB) and SSIM of two picture files of one size as the paper takes them (scikit-image, 8 bit), and visible.

    visible is the mean colour difference (S-CIELAB, see ``losses.colour_difference``) of the pictures seen 6 degrees
    wide, shrunk to at most 512 pixels.
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    first, second = open_photo(clean).rgb, open_photo(protected).rgb
    if first.shape != second.shape:
        raise ValueError(f"{clean} is {first.shape[:2]}, {protected} is {second.shape[:2]}: not one framing")
    return {
        "psnr": float(peak_signal_noise_ratio(first, second, data_range=255)) if (first != second).any() else np.inf,
        "ssim": float(structural_similarity(first, second, channel_axis=2, data_range=255)),
        "visible": float(losses.colour_difference(_seen(first), _seen(second)).mean()),
    }


def _seen(picture: np.ndarray) -> Tensor:
    """A picture (H, W, 3) uint8 as (1, 3, h, w) in [-1, 1], at most VIEWED pixels high and wide."""
    image = Image.fromarray(picture)
    image.thumbnail((VIEWED, VIEWED), Image.Resampling.BOX)
    return to_tensor(np.asarray(image)[None])


def framed(at: faces.FaceCrop, picture: Picture) -> Tensor:
    """The frame (3,S,S) of the face ``at`` in a picture of its photo's size; a tensor is taken for that frame."""
    return picture if isinstance(picture, Tensor) else at.resample(open_photo(picture))


def skin_change(at: faces.FaceCrop, protected: Picture) -> dict[str, float]:
    """How the bare skin of the face ``at`` has changed in the protected picture, of its photo's size.

    Returns "bare skin", the mean colour difference (S-CIELAB) where the crop's mask has skin, which leaves out lips and
    eyes, and "bare skin chroma", the mean absolute change of sqrt(a^2 + b^2) there, in units of CIELAB after the eye's
    blur: how far shade became colour. Both are NaN where the crop shows no skin.
    """
    first, second = (losses.seen_colours(crop[None]) for crop in (at.image, framed(at, protected)))
    skin = at.masks[1] > 0.5
    difference = (first - second).norm(dim=1)[0][skin]
    chroma = [colours[:, 1:].norm(dim=1)[0][skin] for colours in (first, second)]
    return {"bare skin": float(difference.mean()), "bare skin chroma": float((chroma[0] - chroma[1]).abs().mean())}


def face_flip(at: faces.FaceCrop, protected: Picture) -> float:
    """Mean FLIP of the face ``at`` in its own frame in the protected picture, of its photo's size: 0 (equal) to 1."""
    return flip(to_uint8(at.image), to_uint8(framed(at, protected)))


@torch.no_grad()
def face_distance(at: faces.FaceCrop, protected: Picture, perceptual: Perceptual) -> float:
    """The perceptual distance of the face ``at`` and its own frame in the protected picture: 0 for equal ones."""
    return float(perceptual(at.image[None], framed(at, protected)[None]))


def flip(first: np.ndarray, second: np.ndarray) -> float:
    """Mean FLIP of two pictures (H, W, 3) uint8: 0 (equal) to 1, what somebody sees who flips between them.

    LDR-FLIP (Andersson et al., HPG 2020) at its default viewing distance, 67 pixels a degree: a face crop of 256 pixels
    is 4 degrees wide. Raises ValueError for shapes that differ. Needs the extra ``metrics``.
    """
    import flip_evaluator

    if first.shape != second.shape:
        raise ValueError(f"two pictures of one shape expected, got {first.shape} and {second.shape}")
    values = (picture.astype(np.float32) / 255 for picture in (first, second))
    return float(flip_evaluator.evaluate(*values, "LDR", applyMagma=False)[1])


def makeup_distance(picture: Picture, at: faces.FaceCrop, reference: faces.FaceCrop) -> dict[str, float]:
    """How far the colours of lip, skin and eyes lie from the reference's (1-Wasserstein, levels 0-255).

    The regions are those of ``at``, the clean photo's face, so that both pictures are measured on the same pixels.
    """
    crop = framed(at, picture)
    regions = {}
    for index, name in enumerate(REGIONS):
        masks = at.masks[index : index + 1, None], reference.masks[index : index + 1, None]
        regions[name] = float(losses.histogram_distance(crop[None], reference.image[None], *masks))
    return regions


def truth_error(picture: Picture, truth: Picture, at: faces.FaceCrop) -> dict[str, float]:
    """Mean absolute difference to the true makeup transfer, in levels (0-255): lip, skin, eyes, face and makeup.

    The truth is the same photo of the same face, drawn in the reference's makeup: it agrees pixel for pixel. "face"
    takes the three regions together, most of which makeup leaves alone. "makeup" weights every pixel of the face by how
    much the true makeup changes it, so it asks where makeup is worn, with no limit to choose. ``at`` is the clean
    photo's face. NaN for a region that is not there, and for "makeup" where none is.
    """
    true = framed(at, truth)
    difference = in_levels((framed(at, picture) - true).abs().mean(0))
    face = at.masks.amax(0)
    shares = {**dict(zip(REGIONS, at.masks)), "face": face, "makeup": face * (true - at.image).abs().mean(0)}
    return {name: float((difference * share).sum() / share.sum()) for name, share in shares.items()}


def stretched(report: pd.DataFrame, folder: str | Path) -> pd.DataFrame:
    """The report with each protected picture stretched to its own minimum and maximum, in files under ``folder``.

    This is how the released code saves its results (see ``images.stretch``).
    """

    def written(file: str) -> str:
        picture = stretch(to_tensor(open_photo(file).rgb[None]))[0]
        return str(save(Path(folder) / Path(file).name, picture))

    return report.assign(protected=[file and written(file) for file in report["protected"]])


def whole_pictures(files: Iterable[str | Path]) -> Probes:
    """Files as whole pictures of 256 px, unaligned and uncropped: what the published code shows its recognisers."""
    tensors = [to_tensor(Image.fromarray(open_photo(file).rgb).resize((256, 256))) for file in files]
    return Probes(torch.stack(tensors), torch.zeros(len(tensors), 5, 2), np.ones(len(tensors), bool))
