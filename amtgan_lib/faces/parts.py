"""Where a face can wear something: soft regions from its 478-point mesh, without what covers it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from amtgan_lib.faces.covers import Cover
from amtgan_lib.faces.drawing import AROUND, DARKEST, SHADE, distance, drawn, filled, grid, ramp, share_along, softened
from amtgan_lib.faces.regions import BROWS, EYES, LIPS, MOUTH, OVAL
from amtgan_lib.models.face_regions import Regions

RIDGE = (168, 6, 197, 195, 5, 4, 1, 2)  # of the nose, down its middle
NOSE = (195, 198, 129, 98, 97, 2, 326, 327, 358, 420)  # its lower half: tip and wings
# Polylines of the mesh, each with its mirror image, and their softness in eye distances.
ZONES = {
    "forehead": (((151, 9), (151, 9)), 0.22),
    "temples": (((21, 71), (251, 301)), 0.14),
    "bridge of the nose": (((168, 6, 197, 195), (168, 6, 197, 195)), 0.05),
    "sides of the nose": (((122, 196, 236, 198), (351, 419, 456, 420)), 0.05),
    "tip of the nose": (((4,), (4,)), 0.06),
    "wings of the nose": (((129, 98), (358, 327)), 0.06),
    "under the eyes": (((231, 230, 229), (451, 450, 449)), 0.06),
    "cheekbones": (((117, 50, 116), (346, 280, 345)), 0.12),
    "hollows of the cheeks": (((207, 187, 147), (427, 411, 376)), 0.12),
    "jaw": (((172, 136, 150), (397, 365, 379)), 0.12),
    "chin": (((175,), (175,)), 0.14),
    "above the lips": (((164,), (164,)), 0.08),
    "folds": (((203, 206, 216), (423, 426, 436)), 0.06),
}
BLUSH = {"apples": (((205,), (425,)), 0.24), "bones": (((50, 117, 123), (280, 346, 352)), 0.16)}
# Upper and lower edges of both eyes and brows, from the outer corner to the inner one.
UPPER_LIDS = tuple(eye[:9] for eye in EYES)
LOWER_LIDS = tuple((eye[0], *reversed(eye[9:]), eye[8]) for eye in EYES)
UPPER_BROWS = tuple(brow[:5] for brow in BROWS)
LOWER_BROWS = tuple(tuple(reversed(brow[5:])) for brow in BROWS)
LID_HEIGHT = 0.45  # of the way from the lash line to the brow
FADE = 0.30  # eye distances from the outline inwards over which moves grow to their full size
EDGE = 0.10  # the same for gains
DEEPEST = 0.25  # of a shade, as a logarithm of brightness
# Of hair beside skin, as such a logarithm; a brow that is less dark than PALE gets less powder at its edges.
BLACKEST, PALE = 1.2, 0.4
# Skin in the shade is warmer, and in the light paler: the share of a shade that each channel usually takes, and bounds.
# A shade that is grey looks like soot on fair skin.
TAN, TANS = np.array([0.6, 1.08, 1.35]), np.array([(0.5, 0.9, 1.0), (1.0, 1.2, 1.6)])
SURE = 0.01  # variance of a logarithm of brightness that tells as much as TAN
# In sepia and other toned pictures colour follows from brightness: equally bright pixels of skin spread by less than
# this. Of three such photos 0.007 at most, of 31 others 0.013 at least.
TONED = 0.01
# Of brightness in [0,1]: skin nearer to white than WHITE takes less and less shade. If a face's median is beyond GLARE,
# the face is nearly white as a whole: there any shade looks painted on, and the second number holds.
WHITE, GLARE = (0.12, 0.40), (0.70, 0.80)
TURNED = (0.38, 0.62)  # where the ridge of a nose is at most taken to be, as a share of the crop's side
GREYISH = 3  # levels between the channels of a pixel that has no colour


def face_regions(image: Tensor, mesh: Tensor) -> Regions:
    """Regions of one crop (3,S,S) in [-1,1] with its mesh (478,2) as (y, x) crop pixels."""
    picture, points = image.numpy(), mesh.numpy()[:, ::-1].astype(np.float32)
    side, eye = picture.shape[-1], float(np.linalg.norm(points[468] - points[473]))
    oval, features = drawn(points, (OVAL,), side), drawn(points, (LIPS, *EYES, *BROWS), side)
    # One pixel in from the outline, whose own pixels are half background.
    inward = (ndimage.distance_transform_edt(oval > 0.999) - 1) / eye
    outline = ramp(inward / EDGE)
    cover = Cover.of(picture, points, oval * (1 - features), eye)
    skin = outline * (1 - ramp(2 * softened(features, 0.03 * eye))) * cover.bare
    shaded = skin * _dimmable(picture, skin, eye)
    near = ramp(1.6 * softened(cover.bare, 0.12 * eye) - 0.3)
    hair = _hair(picture, skin, eye)
    lips = softened(drawn(points, (LIPS,), side) * (1 - drawn(points, (MOUTH,), side)), 0.018 * eye)
    return Regions(
        moving=_tensor(ramp(inward / FADE) * cover.movable),
        across=torch.from_numpy(_across(points, side))[None],
        wholes=_tensor(_wholes(points, side, eye)),
        skin=_tensor(shaded),
        shades=_tensor(_shades(picture, eye) * shaded),
        tan=torch.from_numpy(_tan(picture, skin)).float()[None],
        zones=_tensor(_lines(points, ZONES, side, eye)),
        blush=_tensor(_lines(points, BLUSH, side, eye) * shaded),
        hair=_tensor(hair),
        brows=_tensor(_brows(points, hair, eye) * outline * near),
        lips=_tensor(lips * outline * near),
        lids=_tensor(_lids(points, side, eye) * outline * cover.bare),
        liner=_tensor(_liner(points, side, eye) * outline * near),
        colourless=torch.tensor([bool((np.ptp(picture, axis=0) < GREYISH / 127.5).mean() > 0.995)]),
    )


def _dimmable(picture: np.ndarray, skin: np.ndarray, eye: float) -> np.ndarray:
    """(S,S) in [0,1]: how much of a shade a picture (3,S,S) can take: less, the nearer it is to white."""
    brightness = (softened(picture.mean(0), SHADE[0] * eye) + 1) / 2
    middle = np.median(brightness[skin > 0.7]) if (skin > 0.7).any() else 0.0
    white = WHITE[0] + (WHITE[1] - WHITE[0]) * ramp((middle - GLARE[0]) / (GLARE[1] - GLARE[0]))
    return ramp((1 - brightness) / white)


def _shades(picture: np.ndarray, eye: float) -> np.ndarray:
    """(S,S): how much brighter each place of a picture (3,S,S) is than what is around it, as a bounded logarithm."""
    brightness = np.log((picture.mean(0) + 1) / 2 + DARKEST)
    around = softened(brightness, SHADE[1] * eye)
    return np.clip(softened(brightness, SHADE[0] * eye) - around, -DEEPEST, DEEPEST)


def _tan(picture: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """(3,): the share of a shade that each channel takes, as it does on this person's skin (S,S) in light and shade."""
    light = np.log((picture + 1) / 2 + DARKEST)[:, skin > 0.7]
    apart = light - light.mean(1, keepdims=True) if light.size else np.zeros((3, 1))
    grey = apart.mean(0)
    told = np.square(grey).mean()
    toned = told > SURE / 10 and _spread(light) < TONED
    # Evenly lit skin tells little: the less it does, the more counts what is usual. A toned picture tells all.
    usual, sure = (np.ones(3), 1e-6) if toned else (TAN, SURE)
    share = ((apart * grey).mean(1) + sure * usual) / (told + sure)
    return share if toned else share.clip(*TANS)


def _spread(light: np.ndarray) -> float:
    """How far the colours of equally bright pixels (3,P) lie apart: the standard deviation of their logarithms.

    Of fewer than a hundred pixels nothing is known: infinite.
    """
    count = light.shape[1] // 32
    if count < 4:
        return np.inf
    alike = light[:, np.argsort(light.mean(0))][:, : 32 * count].reshape(3, 32, count)
    colours = (alike - alike[1])[[0, 2]]
    return float((colours - colours.mean(2, keepdims=True)).std())


def _tensor(mask: np.ndarray) -> Tensor:
    """(S,S) or (Z,S,S) as (1,Z,S,S)."""
    return torch.from_numpy(np.ascontiguousarray(mask.reshape(1, -1, *mask.shape[-2:]), np.float32))


def _lines(points: np.ndarray, zones: dict, side: int, eye: float) -> np.ndarray:
    """(Z,S,S): soft lines along the mesh, both sides of a face as one."""
    pixels, found = grid(side, 2), []  # they are smooth: half the resolution does
    for sides, softness in zones.values():
        away = np.min([distance(pixels, points[list(line)]) for line in set(sides)], axis=0)
        found.append(np.exp(-((away / (softness * eye)) ** 2) / 2))
    half = torch.from_numpy(np.stack(found))[None]
    return F.interpolate(half, (side, side), mode="bilinear", align_corners=False)[0].numpy()


def _across(points: np.ndarray, side: int) -> np.ndarray:
    """(S,): where each column lies between the sides of the crop, 0 to 1, if the ridge of the nose is to be at 0.5.

    A face is changed alike on both sides of its nose, also where it is turned and the nose is not in the middle.
    """
    columns = np.linspace(0, 1, side, dtype=np.float32)
    ridge = np.clip(points[list(RIDGE), 0].mean() / (side - 1), *TURNED)
    return columns + (0.5 - ridge) / (ridge * (1 - ridge)) * columns * (1 - columns)


def _wholes(points: np.ndarray, side: int, eye: float) -> np.ndarray:
    """(6,S,S): each brow, each eye, the mouth and the nose, 1 on it and close to it, and fading from there."""
    found = []
    for polygon in (*BROWS, *EYES, LIPS, NOSE):
        away = ndimage.distance_transform_edt(drawn(points, (polygon,), side) < 0.5) / (AROUND * eye)
        found.append(np.exp(-(np.maximum(away - 0.5, 0) ** 2) / 2))
    return np.stack(found)


def _hair(picture: np.ndarray, skin: np.ndarray, eye: float) -> np.ndarray:
    """(3,S,S): how much darker a picture (3,S,S) is than the skin around, as bounded logarithms; 0 where it is not.

    Far from any skin the numbers mean nothing.
    """
    light = np.log((picture + 1) / 2 + DARKEST)
    share = softened(skin, SHADE[1] * eye).clip(1e-3)
    darker = [softened(each * skin, SHADE[1] * eye) / share - softened(each, SHADE[0] * eye) for each in light]
    return np.clip(darker, 0, BLACKEST)


def _brows(points: np.ndarray, hair: np.ndarray, eye: float) -> np.ndarray:
    """(4,S,S): the inner and the outer half of both brows, and soft bands along their upper and lower edge.

    Where a brow is no darker than skin, pale or under a strand of hair, there are no bands: they would be lines.
    """
    side = hair.shape[-1]
    found = np.zeros((4, side, side))
    pixels = grid(side)
    for upper, lower in zip(UPPER_BROWS, LOWER_BROWS):
        top, bottom = points[list(upper)], points[list(lower)]
        whole = softened(filled([np.concatenate([top, bottom[::-1]])], side), 0.02 * eye)
        outer, inner = (top[0] + bottom[0]) / 2, (top[-1] + bottom[-1]) / 2
        inwards = share_along(pixels, outer, inner)
        found[0] += whole * inwards
        found[1] += whole * (1 - inwards)
        for place, edge in ((2, top), (3, bottom)):
            # From the outer end on, and never into the space between the brows.
            band = np.exp(-((distance(pixels, edge[:-1]) / (0.03 * eye)) ** 2) / 2)
            found[place] += band * (1 - whole) * 0.6
    whole = found[:2].sum(0)
    darker = softened(whole * hair.mean(0), AROUND * eye) / softened(whole, AROUND * eye).clip(1e-3)
    found[2:] *= ramp(darker / PALE)
    return found


def _lids(points: np.ndarray, side: int, eye: float) -> np.ndarray:
    """(2,S,S): both upper lids up to LID_HEIGHT of the way to the brow, and their outer halves."""
    found = np.zeros((2, side, side))
    pixels = grid(side)
    for lash, brow in zip(UPPER_LIDS, LOWER_BROWS):
        line, above = points[list(lash)], points[list(brow)]
        places = np.linspace(0, 1, len(line))
        stretched = np.stack([np.interp(places, np.linspace(0, 1, 5), above[:, axis]) for axis in (0, 1)], -1)
        reach = LID_HEIGHT * np.sin(np.pi * np.linspace(0.08, 0.95, len(line)))[:, None]
        lid = filled([np.concatenate([line, (line + reach * (stretched - line))[::-1]])], side)
        lid = softened(lid, 0.035 * eye) * (1 - drawn(points, EYES, side))
        outwards = share_along(pixels, line[-1], line[0])
        found[0] += lid
        found[1] += lid * ramp(outwards * 1.6 - 0.6)
    return found


def _liner(points: np.ndarray, side: int, eye: float) -> np.ndarray:
    """(2,S,S): thin lines along the upper and the lower lashes, thinner towards the nose."""
    pixels = grid(side)
    found = []
    for lids, width in ((UPPER_LIDS, 0.022), (LOWER_LIDS, 0.014)):
        lines = []
        for lid in lids:
            line = points[list(lid)]
            outwards = share_along(pixels, line[-1], line[0])
            thick = width * eye * (0.5 + 0.5 * outwards)
            lines.append(np.exp(-((distance(pixels, line) / thick) ** 2) / 2) * ramp(outwards * 3))
        found.append(np.max(lines, axis=0))
    return np.stack(found)
