"""A photo's faces: where they are, upright crops with landmarks and makeup regions, and the way back.

Detection and the 478-point landmark mesh are mediapipe's (models inside its wheel). A crop is the
similarity frame of five points (eyes, nose tip, mouth corners), so its face is upright and of a fixed
size; what a generator changes in the crop goes back into the photo as a difference.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from amtgan_lib.images import Photo, PhotoError, open_photo, to_tensor, to_uint8

# Five points (x, y) in a crop of side 1: the usual 112 px recognition template, scaled by 1.8 / 256 and
# placed so that the eyes lie where they do in CelebA-HQ crops (measured on 40 of them: 46.7 % from the top).
TEMPLATE_112 = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
CROP_TEMPLATE = (TEMPLATE_112 - (56.0, 51.6)) * 1.8 / 256 + (0.5, 0.467)
SMALLEST_EYE_DISTANCE = 8.0  # pixels; below it neither a recogniser nor a generator has anything to work with
FEATHER = 0.10  # share of the crop's side over which a change fades to nothing
DETECTOR_SIDE = 1280  # photos with a longer side are searched in overlapping tiles as well

# Indices of the 478-point mesh.
FIVE = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477), (1,), (61,), (291,))
MESH_TO_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149)
OVAL += (150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
MOUTH = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))

# Class numbers of the two mask orders in the open data: (lips, skin). "mt" is the remapped order of the
# published preprocessing, "parsing19" the common 19-class order of the SSAT masks.
PARSE_ORDERS = {"mt": ((7, 9), (1, 6)), "parsing19": ((12, 13), (1, 10))}


class FaceError(PhotoError):
    """No usable face; the message is one sentence for the photo's owner."""


@dataclass(frozen=True)
class FaceCrop:
    """One face of a photo, upright, at ``size`` pixels.

    image (3, S, S) in [-1, 1]; landmarks (68, 2) and points (5, 2) as (y, x) crop pixels; masks (3, S, S)
    in {0, 1}: lip, skin, eyes; matrix (2, 3) maps crop (x, y) to photo (x, y); box (x0, y0, x1, y1) in the photo.
    """

    image: Tensor
    landmarks: Tensor
    points: Tensor
    masks: Tensor
    matrix: np.ndarray
    box: tuple[float, float, float, float]
    name: str = "photo"

    @property
    def size(self) -> int:
        """Side of the crop in pixels."""
        return self.image.shape[-1]

    @property
    def scale(self) -> float:
        """Photo pixels per crop pixel."""
        return float(np.hypot(*self.matrix[:, 0]))

    def change(self, photo: Photo, image: Tensor) -> np.ndarray:
        """What pasting ``image`` (3, S, S) in [-1, 1] changes in the photo: (H, W, 3) in 8-bit units.

        The difference to the crop is carried over, not the crop itself: the photo keeps its own high
        frequencies (the published postprocessing adds them back, which is the same thing), and an
        unchanged crop changes nothing at all. Feathered towards the crop's border.
        """
        if image.shape != self.image.shape:
            raise ValueError(f"expected a changed crop of {tuple(self.image.shape)}, got {tuple(image.shape)}")
        difference = (image.detach().float().cpu() - self.image) * 127.5 * _feather(self.size)
        return _to_photo(difference, self.matrix, photo.size)

    def paste(self, onto: Photo | Image.Image | np.ndarray, image: Tensor) -> Image.Image:
        """The photo with this face changed to ``image`` (3, S, S) in [-1, 1]; same size and mode."""
        photo = open_photo(onto)
        return photo.with_change(self.change(photo, image))

    def with_parse(self, parse_map: np.ndarray, photo_size: tuple[int, int], order: str) -> FaceCrop:
        """The same face with masks from a parse map of the photo (any resolution) in a known class order."""
        to_parse = np.diag([parse_map.shape[1] / photo_size[0], parse_map.shape[0] / photo_size[1]]) @ self.matrix
        crop = _affine(Image.fromarray(parse_map), to_parse, self.size, Image.Resampling.NEAREST)
        masks = region_masks(np.asarray(crop), self.landmarks, order)
        return FaceCrop(self.image, self.landmarks, self.points, masks, self.matrix, self.box, self.name)


def region_masks(parse_map: np.ndarray, landmarks: Tensor, order: str = "mt") -> Tensor:
    """Lip, skin and eye masks (3, H, W) from a parse map (H, W) and 68 landmarks (y, x).

    Published preprocessing: the eye region is what lies in rectangles around points 36-41 and 42-47,
    grown by 16 px at 256 px, and is skin; it is taken out of the skin mask.
    """
    lips, skin = (np.isin(parse_map, classes) for classes in PARSE_ORDERS[order])
    return _regions(lips, skin, np.asarray(landmarks), 16 * parse_map.shape[0] / 256)


def _regions(lips: np.ndarray, skin: np.ndarray, landmarks: np.ndarray, grow: float) -> Tensor:
    eyes = np.zeros_like(skin)
    for corner in (landmarks[36:42], landmarks[42:48]):
        (top, left), (bottom, right) = np.rint(corner.min(0) - grow), np.rint(corner.max(0) + grow)
        eyes[max(int(top), 0) : max(int(bottom) + 1, 0), max(int(left), 0) : max(int(right) + 1, 0)] = True
    return torch.from_numpy(np.stack([lips, skin & ~eyes, skin & eyes]).astype(np.float32))


def detect(photo: str | os.PathLike | Image.Image | np.ndarray | Photo, size: int = 256) -> list[FaceCrop]:
    """Every face of a photo, largest first, as crops of ``size`` pixels; an empty list where there is none.

    Raises PhotoError for what is not a readable photo, FaceError for faces too small to work with
    when no other face is usable.
    """
    photo = open_photo(photo)
    meshes = _distinct([mesh for box in _boxes(photo.rgb) if (mesh := _mesh(photo.rgb, box)) is not None])
    usable = [mesh for mesh in meshes if np.linalg.norm(_five(mesh)[0] - _five(mesh)[1]) >= SMALLEST_EYE_DISTANCE]
    if meshes and not usable:
        raise FaceError(f"{photo.name}: the face is too small (eyes less than {SMALLEST_EYE_DISTANCE:.0f} px apart)")
    crops = [crop_face(photo, mesh, size) for mesh in usable]
    return sorted(crops, key=lambda crop: -crop.scale)


def detect_one(photo: str | os.PathLike | Image.Image | np.ndarray | Photo, size: int = 256) -> FaceCrop:
    """The largest face of a photo, or FaceError."""
    photo = open_photo(photo)
    crops = detect(photo, size)
    if not crops:
        raise FaceError(f"{photo.name}: no face was found")
    return crops[0]


def crop_face(photo: Photo, mesh: np.ndarray, size: int = 256) -> FaceCrop:
    """The crop of one face, given its mesh (478, 2) as (x, y) photo pixels."""
    matrix = similarity(CROP_TEMPLATE * (size - 1), _five(mesh))
    image = _affine(Image.fromarray(photo.rgb), matrix, size, Image.Resampling.BICUBIC)
    inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]
    local = mesh @ inverse[:, :2].T + inverse[:, 2]
    landmarks = local[list(MESH_TO_68)]
    lips = _polygon(local, (LIPS,), size) & ~_polygon(local, (MOUTH,), size)
    skin = _polygon(local, (OVAL,), size) & ~_polygon(local, (LIPS, *EYES, *BROWS), size)
    masks = _regions(lips, skin, landmarks[:, ::-1], 16 * size / 256)
    return FaceCrop(
        image=to_tensor(image),
        landmarks=torch.from_numpy(landmarks[:, ::-1].copy()).float().round(),
        points=torch.from_numpy(_five(local)[:, ::-1].copy()).float(),
        masks=masks,
        matrix=matrix,
        box=(*mesh.min(0), *mesh.max(0)),
        name=photo.name,
    )


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The (2, 3) similarity transform that takes points ``source`` (K, 2) to ``target`` best (Umeyama 1991)."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    covariance = (target - mean_t).T @ (source - mean_s) / len(source)
    u, d, vt = np.linalg.svd(covariance)
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (d * sign).sum() / ((source - mean_s) ** 2).sum(1).mean()
    rotation = scale * (u * sign) @ vt
    return np.concatenate([rotation, (mean_t - rotation @ mean_s)[:, None]], axis=1)


def _five(mesh: np.ndarray) -> np.ndarray:
    return np.stack([mesh[list(index)].mean(0) for index in FIVE])


def _polygon(points: np.ndarray, outlines: tuple[tuple[int, ...], ...], size: int) -> np.ndarray:
    canvas = Image.new("1", (size, size))
    for outline in outlines:
        ImageDraw.Draw(canvas).polygon([tuple(points[i]) for i in outline], fill=1)
    return np.asarray(canvas)


# ---------------------------------------------------------------- warps


def _affine(picture: Image.Image, matrix: np.ndarray, size: int, resample: Image.Resampling) -> Image.Image:
    """Sample a (size, size) picture through ``matrix`` (crop to picture), antialiased where it shrinks."""
    scale = float(np.hypot(*matrix[:, 0]))
    if scale > 1 and resample != Image.Resampling.NEAREST:
        corners = np.array([(0, 0), (size, 0), (0, size), (size, size)]) @ matrix[:, :2].T + matrix[:, 2]
        x0, y0 = np.maximum(np.floor(corners.min(0)) - 8, 0).astype(int)
        x1, y1 = np.minimum(np.ceil(corners.max(0)) + 8, picture.size).astype(int)
        small = (max(round((x1 - x0) / scale), 1), max(round((y1 - y0) / scale), 1))
        factor = np.array([small[0] / (x1 - x0), small[1] / (y1 - y0)])
        picture = picture.crop((x0, y0, x1, y1)).resize(small, Image.Resampling.LANCZOS)
        # Pixel centres are integers here: shift by half a pixel around the change of scale.
        shift = (matrix[:, 2] - (x0, y0) + 0.5) * factor - 0.5
        matrix = np.concatenate([factor[:, None] * matrix[:, :2], shift[:, None]], axis=1)
    array = _extended(np.asarray(picture), matrix, size)
    picture, matrix = Image.fromarray(array[0]), matrix + np.array([[0, 0, array[1]], [0, 0, array[1]]])
    # PIL maps pixel centres at +0.5: compensate, so that integer coordinates mean centres everywhere.
    offset = matrix[:, :2] @ (-0.5, -0.5) + matrix[:, 2] + 0.5
    data = (*matrix[0, :2], offset[0], *matrix[1, :2], offset[1])
    return picture.transform((size, size), Image.Transform.AFFINE, data, resample)


def _extended(array: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """The picture with its border pixels repeated as far as a crop reaches over it, and how far."""
    corners = np.array([(0, 0), (size, 0), (0, size), (size, size)]) @ matrix[:, :2].T + matrix[:, 2]
    width, height = array.shape[1], array.shape[0]
    reach = max(-corners.min(), (corners - (width, height)).max(), 0)
    pad = int(np.ceil(reach)) + 3
    return np.pad(array, ((pad, pad), (pad, pad)) + ((0, 0),) * (array.ndim - 2), mode="edge"), pad


@functools.lru_cache(maxsize=8)
def _feather(size: int) -> Tensor:
    distance = torch.minimum(torch.arange(size), torch.arange(size).flip(0)).float() / (FEATHER * size)
    ramp = distance.clamp(0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return ramp[:, None] * ramp[None]


def _to_photo(difference: Tensor, matrix: np.ndarray, photo_size: tuple[int, int]) -> np.ndarray:
    """Carry a (3, S, S) difference to (H, W, 3); zero outside the crop; area-averaged where it shrinks."""
    width, height = photo_size
    size = difference.shape[-1]
    change = np.zeros((height, width, 3), np.float32)
    corners = np.array([(0, 0), (size, 0), (0, size), (size, size)]) @ matrix[:, :2].T + matrix[:, 2]
    x0, y0 = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(corners.max(0)) + 1, photo_size).astype(int)
    if x1 <= x0 or y1 <= y0:
        return change
    inverse = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]
    copies = max(int(np.ceil(np.hypot(*inverse[:, 0]) - 0.05)), 1)  # samples per photo pixel and axis
    steps = (np.arange(copies) + 0.5) / copies - 0.5
    x = (np.arange(x0, x1)[:, None] + steps).ravel()
    y = (np.arange(y0, y1)[:, None] + steps).ravel()
    grid = np.stack(np.meshgrid(x, y), -1) @ inverse[:, :2].T + inverse[:, 2]
    grid = torch.from_numpy(grid / (size - 1) * 2 - 1).float()[None]
    mode = "bicubic" if copies == 1 else "bilinear"
    warped = torch.nn.functional.grid_sample(difference[None], grid, mode, "zeros", align_corners=True)
    warped = torch.nn.functional.avg_pool2d(warped, copies)[0]
    change[y0:y1, x0:x1] = warped.permute(1, 2, 0).numpy()
    return change


# ---------------------------------------------------------------- detection


@contextlib.contextmanager
def _quiet():
    """Keep mediapipe's C++ start-up messages off stderr; its errors are raised as exceptions all the same."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(null)
        os.close(saved)


_LOCK = threading.Lock()  # mediapipe's solutions are not thread-safe


@functools.lru_cache(maxsize=1)
def _solutions():
    try:
        with _quiet():
            from mediapipe.python.solutions import face_detection, face_mesh
    except ImportError as error:
        raise FaceError(f"finding faces needs mediapipe: pip install 'amtgan-lib[faces]' ({error})") from None
    with _quiet():
        near, far = (face_detection.FaceDetection(0.5, model_selection=selection) for selection in (0, 1))
        mesh = face_mesh.FaceMesh(
            static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.3
        )
    return near, far, mesh


def _boxes(rgb: np.ndarray) -> list[np.ndarray]:
    """Candidate boxes (x0, y0, x1, y1) in photo pixels, from the whole photo and, if it is large, from tiles."""
    height, width = rgb.shape[:2]
    found = [np.array([0, 0, width, height], float)] if max(width, height) <= 2 * min(width, height) else []
    for x0, y0, side_x, side_y in _tiles(width, height):
        tile = rgb[y0 : y0 + side_y, x0 : x0 + side_x]
        for detector in _solutions()[:2]:
            found += [box + (x0, y0, x0, y0) for box in _detections(detector, tile)]
    return found


def _tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    tiles = [(0, 0, width, height)]
    side = DETECTOR_SIDE // 2
    if max(width, height) > DETECTOR_SIDE:
        step = side * 2 // 3
        for y in range(0, max(height - side // 3, 1), step):
            tiles += [(x, y, min(side, width - x), min(side, height - y)) for x in range(0, width - side // 3, step)]
    return tiles


def _detections(detector, rgb: np.ndarray) -> list[np.ndarray]:
    enlarged = _enlarged(rgb)
    with _LOCK, _quiet():
        result = detector.process(np.ascontiguousarray(enlarged))
    boxes = [d.location_data.relative_bounding_box for d in result.detections or ()]
    size = np.array([rgb.shape[1], rgb.shape[0]] * 2)
    return [np.array([b.xmin, b.ymin, b.xmin + b.width, b.ymin + b.height]) * size for b in boxes]


def _enlarged(rgb: np.ndarray, least: int = 192) -> np.ndarray:
    height, width = rgb.shape[:2]
    if min(height, width) >= least:
        return rgb
    scale = least / min(height, width)
    return np.asarray(Image.fromarray(rgb).resize((round(width * scale), round(height * scale))))


def _mesh(rgb: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The mesh (478, 2) as (x, y) photo pixels of the face in ``box``, or None."""
    height, width = rgb.shape[:2]
    centre, side = (box[:2] + box[2:]) / 2, max(box[2:] - box[:2]) * 1.8
    whole = (box == (0, 0, width, height)).all()
    x0, y0 = (0, 0) if whole else np.maximum(centre - side / 2, 0).astype(int)
    x1, y1 = (width, height) if whole else np.minimum(centre + side / 2, (width, height)).astype(int)
    if x1 - x0 < 16 or y1 - y0 < 16:
        return None
    patch = Image.fromarray(rgb[y0:y1, x0:x1])
    if max(patch.size) > 640 or min(patch.size) < 192:
        factor = min(640 / max(patch.size), max(1.0, 192 / min(patch.size)))
        patch = patch.resize([max(round(side * factor), 1) for side in patch.size], Image.Resampling.LANCZOS)
    with _LOCK, _quiet():
        result = _solutions()[2].process(np.asarray(patch))
    if not result.multi_face_landmarks:
        return None
    points = np.array([(point.x, point.y) for point in result.multi_face_landmarks[0].landmark])
    return points * (x1 - x0, y1 - y0) - 0.5 + (x0, y0)  # pixel centres at integers


def _distinct(meshes: list[np.ndarray]) -> list[np.ndarray]:
    """One mesh a face: of those whose centres lie within half an eye distance, the last (most zoomed) stays."""
    kept: list[np.ndarray] = []
    for mesh in meshes:
        centre, reach = mesh.mean(0), np.ptp(mesh, 0).max()
        kept = [other for other in kept if np.linalg.norm(other.mean(0) - centre) > 0.4 * reach]
        kept.append(mesh)
    return kept


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
