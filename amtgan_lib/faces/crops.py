"""One face of a photo as an upright square crop, and the way of its changes back into the photo."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from amtgan_lib.faces import regions, warps
from amtgan_lib.images import Change, Photo, PhotoError, in_levels, open_photo, to_tensor, to_uint8
from amtgan_lib.models.rendering import Fields, applied

# The template that ArcFace-style recognisers were trained with, at 112 px: (x, y) of left eye, right eye, nose tip,
# left and right mouth corner, as seen in the picture.
TEMPLATE_112 = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
# The same five points in a crop of side 1: scaled by 1.8 / 256, and placed so that the eyes lie where they do in
# CelebA-HQ crops (measured on 40 of them: 46.7 % from the top).
CROP_TEMPLATE = (TEMPLATE_112 - (56.0, 51.6)) * 1.8 / 256 + (0.5, 0.467)
# The released code's margins: above and below the face in face heights, beside it in widths of the whole photo.
PUBLISHED_UP, PUBLISHED_DOWN, PUBLISHED_SIDES = 0.6 / 0.85, 0.2 / 0.85, 0.2 / 0.85
FEATHER = 0.10  # share of the crop's side over which a change fades to nothing
# Five points in other places than a face's. Of 90 photographs none has more than 0.35; a profile that is seen as a line
# has up to 0.665, two points that are swapped 0.678 or more.
MISFIT = 0.67


class FaceError(PhotoError):
    """No usable face; the message is one sentence for the photo's owner."""


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """One face of a photo, upright, at ``size`` pixels.

    image (3, S, S) in [-1, 1], its last pixels repeated beyond the photo's border; landmarks (68, 2) and points
    (5, 2) as (y, x) crop pixels; masks (3, S, S) in {0, 1}: lip, skin, eyes, all 0 beyond the border; matrix (2, 3)
    maps crop (x, y) to photo (x, y); box (x0, y0, x1, y1) in the photo of ``photo_size`` (width, height) pixels; mesh
    (478, 2) as (y, x) crop pixels, where the face was found by it. Raises FaceError for places that no face has.
    """

    image: Tensor
    landmarks: Tensor
    points: Tensor
    masks: Tensor
    matrix: np.ndarray
    box: tuple[float, float, float, float]
    name: str = "photo"
    photo_size: tuple[int, int] | None = None
    mesh: Tensor | None = None

    def __post_init__(self):
        if reason := self._no_face():
            x0, y0, *_ = self.box
            raise FaceError(f"{self.name}: what was found at ({x0:.0f}, {y0:.0f}) is no face: {reason}")

    def _no_face(self) -> str:
        """Why this cannot be a face, "" where it can: what is looked at in the wrong place would pass for protected."""
        places = (self.landmarks, self.points) if self.mesh is None else (self.landmarks, self.points, self.mesh)
        numbers = (np.isfinite(self.matrix).all(), np.isfinite(self.box).all())
        if not all(map(bool, (*numbers, *(torch.isfinite(place).all() for place in places)))):
            return "its landmarks are not finite"
        if misfit(self.points.numpy()) > MISFIT:
            return "its eyes, nose and mouth are in the wrong places"
        x0, y0, x1, y1 = self.box
        if self.photo_size and not (x0 < self.photo_size[0] and y0 < self.photo_size[1] and x1 > 0 and y1 > 0):
            return "it lies beyond the photo's border"
        return ""

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        return self.image.shape[-1]

    @property
    def scale(self) -> float:
        """Photo pixels per crop pixel."""
        return float(np.hypot(*self.matrix[:, 0]))

    def resample(self, photo: Photo | Image.Image | np.ndarray) -> Tensor:
        """The same frame of another picture of the photo's size, such as the protected photo: (3, S, S)."""
        return _cut(self._right_size(photo), self.matrix, self.size)

    def view(self, photo: Photo | Image.Image | np.ndarray, size: int) -> tuple[Tensor, Tensor]:
        """The face in the same frame of a picture of the photo's size, cut at ``size``: (3, s, s), and points (5, 2).

        As :func:`~amtgan_lib.faces.detect` would cut it, without looking for it again.
        """
        factor = (self.size - 1) / (size - 1)
        matrix = self.matrix * np.array([factor, factor, 1.0])
        return _cut(self._right_size(photo), matrix, size), self.points / factor

    def change_in(self, photo: Photo, image: Tensor) -> Change:
        """What putting ``image`` (3, S, S) in [-1, 1] in the place of this face changes in the photo, in 8-bit units.

        The difference to the crop is carried over, not the crop itself: the photo keeps its own high
        frequencies (the published postprocessing adds them back, which is the same thing), and an
        unchanged crop changes nothing at all. Feathered towards the crop's border.
        Raises ValueError for an image of another size, or one that is not finite.
        """
        if image.shape != self.image.shape or not torch.isfinite(image).all():
            raise ValueError(f"expected a finite changed crop of {tuple(self.image.shape)}, got {tuple(image.shape)}")
        photo = self._right_size(photo)
        difference = in_levels(image.detach().float().cpu() - self.image) * _feather(self.size)
        values, x, y = warps.spread(difference.permute(1, 2, 0).numpy(), self.matrix, photo.size)
        return Change(values, x, y, photo.size)

    def painted_in(self, photo: Photo, paint: Fields) -> Change:
        """What a look changes in the photo, in 8-bit units, at the photo's own size: pixels move and keep their detail.

        paint: flow (1, 2, S, S) and gain (1, 3, S, S) of this crop; where they change nothing the photo stays as it is.
        """
        photo = self._right_size(photo)
        fields = torch.cat([paint.flow, paint.gain - 1], dim=1)[0].permute(1, 2, 0).numpy()
        values, x, y = warps.spread(fields, self.matrix, photo.size)
        height, width = values.shape[:2]
        image = to_tensor(photo.rgb[y : y + height, x : x + width])[None]
        flow = torch.from_numpy(values[..., :2] @ self.matrix[:, :2].T.astype(np.float32)).permute(2, 0, 1)[None]
        gain = torch.from_numpy(values[..., 2:]).permute(2, 0, 1)[None] + 1
        changed = in_levels(applied(image, Fields(flow, gain), "bicubic") - image)[0]
        return Change(changed.permute(1, 2, 0).numpy(), x, y, photo.size)

    def within(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> FaceCrop:
        """The same face in a cut-out ``box`` (x0, y0, x1, y1) of its photo, resized to ``size`` (width, height)."""
        factor = np.array(size) / (box[2] - box[0], box[3] - box[1])
        corners = (np.reshape(self.box, (2, 2)) - box[:2]) * factor
        matrix = warps.resized(self.matrix, factor, box[:2])
        return replace(self, matrix=matrix, box=tuple(corners.ravel().tolist()), photo_size=size)

    def with_parse(self, parse_map: np.ndarray, photo_size: tuple[int, int], order: str) -> FaceCrop:
        """The same face with masks from a parse map of the photo (any resolution) in a known class order."""
        factor = np.array([parse_map.shape[1] / photo_size[0], parse_map.shape[0] / photo_size[1]])
        to_parse = warps.resized(self.matrix, factor)
        crop = warps.sample_nearest(parse_map, to_parse, self.size)
        masks = regions.region_masks(crop, self.landmarks, order) * _inside(self.matrix, self.size, photo_size)
        return replace(self, masks=masks)

    def reframed(self, photo: Photo | Image.Image | np.ndarray, matrix: np.ndarray) -> FaceCrop:
        """The same face of its photo, cut at the same size in another frame: ``matrix`` as of the new crop."""
        photo, size = self._right_size(photo), self.size
        to_old = warps.chained(matrix, warps.inverse(self.matrix))
        landmarks, points = (_moved(place, warps.inverse(to_old)) for place in (self.landmarks, self.points))
        old, inside = self.masks.numpy() > 0.5, warps.inside(to_old, size, (size, size))
        lips, skin, eyes = (warps.sample_nearest(mask, to_old, size) & inside for mask in old)
        landmarks = landmarks.round()
        masks = regions.with_eyes(lips, skin | eyes, landmarks.numpy())
        image = _cut(photo, matrix, size)
        return replace(self, image=image, landmarks=landmarks, points=points, masks=masks, matrix=matrix)

    def smaller(self, size: int) -> FaceCrop:
        """The same face in the same frame at ``size`` pixels, at most its own; masks by majority."""
        if size >= self.size:
            return self
        factor, half = size / self.size, (self.size / size - 1) / 2
        image = F.interpolate(self.image[None], (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
        masks = (F.interpolate(self.masks[None], (size, size), mode="area")[0] >= 0.5).to(self.masks)
        landmarks, points, mesh = (
            None if places is None else (places - half) * factor for places in (self.landmarks, self.points, self.mesh)
        )
        to_larger = np.array([[1 / factor, 0, half], [0, 1 / factor, half]])
        matrix = warps.chained(to_larger, self.matrix)
        return FaceCrop(image, landmarks.round(), points, masks, matrix, self.box, self.name, self.photo_size, mesh)

    def alone(self) -> FaceCrop:
        """The same face as if the crop were the whole photo."""
        return replace(self, matrix=np.eye(2, 3), photo_size=(self.size, self.size))

    def _right_size(self, onto: Photo | Image.Image | np.ndarray) -> Photo:
        photo = open_photo(onto)
        if self.photo_size not in (None, photo.size):
            raise ValueError(f"this face is from a photo of {self.photo_size} pixels, {photo.name} has {photo.size}")
        return photo


def misfit(points: np.ndarray) -> float:
    """How far five points (5, 2) as (y, x) are from a face's, wherever it is and however turned: 0 (none) to 1."""
    given, wanted = (xy[:, 0] + 1j * xy[:, 1] for xy in (points[:, ::-1].astype(float), CROP_TEMPLATE))
    given, wanted = given - given.mean(), wanted - wanted.mean()
    spread = np.linalg.norm(given) * np.linalg.norm(wanted)
    likeness = abs(np.vdot(given, wanted)) / spread if spread else 0.0
    return float(np.sqrt(max(1 - likeness**2, 0)))


def crop_face(photo: Photo, mesh: np.ndarray, size: int = 256) -> FaceCrop:
    """The crop of one face, given its mesh (478, 2) as (x, y) photo pixels."""
    matrix = frame(mesh, size)
    local = warps.apply(warps.inverse(matrix), mesh)
    return FaceCrop(
        image=_cut(photo, matrix, size),
        landmarks=torch.from_numpy(regions.landmarks_68(local)[:, ::-1].copy()).float().round(),
        points=torch.from_numpy(regions.five_points(local)[:, ::-1].copy()).float(),
        masks=regions.mesh_masks(local, size) * _inside(matrix, size, photo.size),
        matrix=matrix,
        box=regions.bounding_box(mesh),
        name=photo.name,
        photo_size=photo.size,
        mesh=torch.from_numpy(local[:, ::-1].copy()).float(),
    )


def frame(mesh: np.ndarray, size: int) -> np.ndarray:
    """The matrix (2, 3) from the crop of ``size`` pixels to the photo that holds this mesh (478, 2)."""
    return warps.similarity(CROP_TEMPLATE * (size - 1), regions.five_points(mesh))


def _cut(photo: Photo, matrix: np.ndarray, size: int) -> Tensor:
    return to_tensor(warps.sample(photo.rgb, matrix, size))


def _inside(matrix: np.ndarray, size: int, photo_size: tuple[int, int]) -> Tensor:
    """(S, S) in {0, 1}: beyond the photo's border there is neither skin nor anything to change."""
    return torch.from_numpy(warps.inside(matrix, size, photo_size)).float()


def _moved(places: Tensor, matrix: np.ndarray) -> Tensor:
    """Places (K, 2) as (y, x) through a matrix."""
    return torch.from_numpy(warps.apply(matrix, places.numpy()[:, ::-1])[:, ::-1].copy()).float()


def published_frame(crop: FaceCrop) -> np.ndarray:
    """The matrix (2, 3) from a crop as the released code cuts this face, to the face's photo: upright, wider than ours.

    Shares of the face's height are added above and below it, and shares of the *photo's* width beside it; of that the
    largest square around the face's middle is taken. The face is the box of its 68 landmarks: that of dlib's detector,
    which the released code takes, is not to be had here.
    """
    faces = warps.apply(crop.matrix, crop.landmarks.numpy()[:, ::-1]) + 0.5  # from pixel centres to edges
    low, high = faces.min(0), faces.max(0)
    width, height = crop.photo_size
    tall, sides = high[1] - low[1], PUBLISHED_SIDES
    above, below = np.array([(sides * width, PUBLISHED_UP * tall), (sides * width, PUBLISHED_DOWN * tall)])
    first, last = np.maximum(low - above, 0), np.minimum(high + below, (width, height))
    side = (last - first).min()
    corner = np.clip((low + high - side) / 2, first, last - side)
    scale = side / crop.size
    return np.column_stack([scale * np.eye(2), corner + scale / 2 - 0.5])


@functools.lru_cache(maxsize=8)
def _feather(size: int) -> Tensor:
    """Weights (S, S): 1 inside, down to 0 at the border along a smooth ramp."""
    distance = torch.minimum(torch.arange(size), torch.arange(size).flip(0)).float() / (FEATHER * size)
    ramp = distance.clamp(0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return ramp[:, None] * ramp[None]


def outline(crop: FaceCrop) -> Image.Image:
    """The crop with its regions tinted and landmarks dotted: a picture to look at before trusting the masks."""
    colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    tint = (crop.masks[:, None] * colours[:, :, None, None]).sum(0)
    covered = crop.masks.sum(0).clamp(max=1)
    picture = Image.fromarray(to_uint8(crop.image * (1 - 0.35 * covered) + 0.35 * tint * covered))
    draw = ImageDraw.Draw(picture)
    for y, x in crop.landmarks.tolist():
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill="yellow")
    return picture
