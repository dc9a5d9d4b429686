"""Where a face can wear something: soft regions from its 478-point mesh, without what covers it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from amtgan_lib.faces.regions import BROWS, EYES, LIPS, MOUTH, OVAL
from amtgan_lib.images import GREY_WEIGHTS
from amtgan_lib.models.rendering import Regions

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
FINE = 4  # polygons are drawn so many times as large
SHADE = (0.012, 0.16)  # eye distances: what is finer is grain, what is broader is the light of the room
DARKEST, DEEPEST = 0.04, 0.25  # of brightness in [0,1], where its logarithm ends; and of a shade
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
AROUND = 0.09  # eye distances: how far what belongs to a brow, an eye or the mouth fades out
GREYISH = 3  # levels between the channels of a pixel that has no colour
# FRAMES: edges on the bridge of the nose and below both eyes that are as steep as this, as _edge measures them, are
# frames of glasses. Of 205 people of the training split that finds all 8 who wear some, and 1 who wears none. GLASSES:
# how far from eyes and brows, in eye distances, nothing moves then, and from where on everything does. LASHES: their
# share of the way from a lower lid to its cheek. SUNGLASSES: how much darker it is below both eyes than on most of the
# face, as a logarithm: of the 205, two wear some, with -0.86 and -1.09, and of all others none is below -0.61.
FRAMES, GLASSES, LASHES, CHEEKS, SUNGLASSES = (0.25, 0.3), (0.4, 0.7), 0.14, ((145, 50), (374, 280)), -0.74
RIM = 0.08  # eye distances that lie between the steepest edge of a rim and where skin begins
LARGEST = 1.5  # how far down rims are looked for, as a share of the way from a lower lid to its cheek
# A mask or a scarf hides the tip of the nose, both cheeks and the chin: where less than UNSEEN of the skin around these
# vertices is bare (AROUND them, in eye distances), all below the line from ear to ear over the nose is cover. A beard
# leaves the nose. NEAR: so far, in eye distances, from a cover of at least LARGE of their squares nothing moves.
NOSE_TIP, LOWER_FACE, UNSEEN = (4, 1, 5), ((207, 187), (427, 411), (175, 199)), 0.4
LOWER = (234, 117, 197, 346, *OVAL[9:28])
LARGE, NEAR = 0.05, 0.08
WARM = 0.03  # skin of any colour is redder than grey: the logarithm of red to green, in linear light


def face_regions(image: Tensor, mesh: Tensor) -> Regions:
    """Regions of one crop (3,S,S) in [-1,1] with its mesh (478,2) as (y, x) crop pixels."""
    picture, points = image.numpy(), mesh.numpy()[:, ::-1].astype(np.float32)
    side, eye = picture.shape[-1], float(np.linalg.norm(points[468] - points[473]))
    oval, features = _drawn(points, (OVAL,), side), _drawn(points, (LIPS, *EYES, *BROWS), side)
    # One pixel in from the outline, whose own pixels are half background.
    inward = (ndimage.distance_transform_edt(oval > 0.999) - 1) / eye
    outline = _ramp(inward / EDGE)
    cover = Cover.of(picture, points, oval * (1 - features), eye)
    skin = outline * (1 - _ramp(2 * _softened(features, 0.03 * eye))) * cover.bare
    shaded = skin * _dimmable(picture, skin, eye)
    near = _ramp(1.6 * _softened(cover.bare, 0.12 * eye) - 0.3)
    hair = _hair(picture, skin, eye)
    lips = _softened(_drawn(points, (LIPS,), side) * (1 - _drawn(points, (MOUTH,), side)), 0.018 * eye)
    return Regions(
        moving=_tensor(_ramp(inward / FADE) * cover.movable),
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
    brightness = (_softened(picture.mean(0), SHADE[0] * eye) + 1) / 2
    middle = np.median(brightness[skin > 0.7]) if (skin > 0.7).any() else 0.0
    white = WHITE[0] + (WHITE[1] - WHITE[0]) * _ramp((middle - GLARE[0]) / (GLARE[1] - GLARE[0]))
    return _ramp((1 - brightness) / white)


def _shades(picture: np.ndarray, eye: float) -> np.ndarray:
    """(S,S): how much brighter each place of a picture (3,S,S) is than what is around it, as a bounded logarithm."""
    brightness = np.log((picture.mean(0) + 1) / 2 + DARKEST)
    around = _softened(brightness, SHADE[1] * eye)
    return np.clip(_softened(brightness, SHADE[0] * eye) - around, -DEEPEST, DEEPEST)


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


def _ramp(values: np.ndarray) -> np.ndarray:
    clipped = np.clip(values, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def _softened(mask: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(mask, sigma)


def _drawn(points: np.ndarray, polygons: tuple[tuple[int, ...], ...], side: int) -> np.ndarray:
    """(S,S) in [0,1]: the share of each pixel inside any of the polygons."""
    return _filled([points[list(polygon)] for polygon in polygons], side)


def _filled(outlines: list[np.ndarray], side: int) -> np.ndarray:
    picture = Image.new("L", (side * FINE, side * FINE))
    draw = ImageDraw.Draw(picture)
    for outline in outlines:
        draw.polygon([tuple(point) for point in (outline + 0.5) * FINE - 0.5], fill=255)
    return np.asarray(picture.reduce(FINE), np.float32) / 255


def _pixels(side: int, step: int = 1) -> np.ndarray:
    """(S,S,2): the (x, y) of every pixel, or of every other."""
    places = np.arange(0, side, step, dtype=np.float32) + (step - 1) / 2
    return np.stack(np.meshgrid(places, places), axis=-1)


def _lines(points: np.ndarray, zones: dict, side: int, eye: float) -> np.ndarray:
    """(Z,S,S): soft lines along the mesh, both sides of a face as one."""
    pixels, found = _pixels(side, 2), []  # they are smooth: half the resolution does
    for sides, softness in zones.values():
        away = np.min([_distance(pixels, points[list(line)]) for line in set(sides)], axis=0)
        found.append(np.exp(-((away / (softness * eye)) ** 2) / 2))
    half = torch.from_numpy(np.stack(found))[None]
    return F.interpolate(half, (side, side), mode="bilinear", align_corners=False)[0].numpy()


def _distance(pixels: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Distance of pixels (S,S,2) from a polyline (K,2)."""
    if len(line) == 1:
        return np.linalg.norm(pixels - line[0], axis=-1)
    nearest = np.full(pixels.shape[:2], np.inf, np.float32)
    for start, end in itertools.pairwise(line):
        share, away = _along(pixels, start, end), pixels - start
        (x, y), along = np.moveaxis(away, -1, 0), end - start
        np.minimum(nearest, (x - share * along[0]) ** 2 + (y - share * along[1]) ** 2, out=nearest)
    return np.sqrt(nearest)


def _along(pixels: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far pixels (S,S,2) lie on the way from start (0) to end (1): (S,S)."""
    way = end - start
    return np.clip((pixels - start) @ way / max(way @ way, 1e-6), 0, 1)


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
        away = ndimage.distance_transform_edt(_drawn(points, (polygon,), side) < 0.5) / (AROUND * eye)
        found.append(np.exp(-(np.maximum(away - 0.5, 0) ** 2) / 2))
    return np.stack(found)


def _hair(picture: np.ndarray, skin: np.ndarray, eye: float) -> np.ndarray:
    """(3,S,S): how much darker a picture (3,S,S) is than the skin around, as bounded logarithms; 0 where it is not.

    Far from any skin the numbers mean nothing.
    """
    light = np.log((picture + 1) / 2 + DARKEST)
    share = _softened(skin, SHADE[1] * eye).clip(1e-3)
    darker = [_softened(each * skin, SHADE[1] * eye) / share - _softened(each, SHADE[0] * eye) for each in light]
    return np.clip(darker, 0, BLACKEST)


def _brows(points: np.ndarray, hair: np.ndarray, eye: float) -> np.ndarray:
    """(4,S,S): the inner and the outer half of both brows, and soft bands along their upper and lower edge.

    Where a brow is no darker than skin, pale or under a strand of hair, there are no bands: they would be lines.
    """
    side = hair.shape[-1]
    found = np.zeros((4, side, side))
    pixels = _pixels(side)
    for upper, lower in zip(UPPER_BROWS, LOWER_BROWS):
        top, bottom = points[list(upper)], points[list(lower)]
        whole = _softened(_filled([np.concatenate([top, bottom[::-1]])], side), 0.02 * eye)
        outer, inner = (top[0] + bottom[0]) / 2, (top[-1] + bottom[-1]) / 2
        inwards = _along(pixels, outer, inner)
        found[0] += whole * inwards
        found[1] += whole * (1 - inwards)
        for place, edge in ((2, top), (3, bottom)):
            # From the outer end on, and never into the space between the brows.
            band = np.exp(-((_distance(pixels, edge[:-1]) / (0.03 * eye)) ** 2) / 2)
            found[place] += band * (1 - whole) * 0.6
    whole = found[:2].sum(0)
    darker = _softened(whole * hair.mean(0), AROUND * eye) / _softened(whole, AROUND * eye).clip(1e-3)
    found[2:] *= _ramp(darker / PALE)
    return found


def _lids(points: np.ndarray, side: int, eye: float) -> np.ndarray:
    """(2,S,S): both upper lids up to LID_HEIGHT of the way to the brow, and their outer halves."""
    found = np.zeros((2, side, side))
    pixels = _pixels(side)
    for lash, brow in zip(UPPER_LIDS, LOWER_BROWS):
        line, above = points[list(lash)], points[list(brow)]
        places = np.linspace(0, 1, len(line))
        stretched = np.stack([np.interp(places, np.linspace(0, 1, 5), above[:, axis]) for axis in (0, 1)], -1)
        reach = LID_HEIGHT * np.sin(np.pi * np.linspace(0.08, 0.95, len(line)))[:, None]
        lid = _filled([np.concatenate([line, (line + reach * (stretched - line))[::-1]])], side)
        lid = _softened(lid, 0.035 * eye) * (1 - _drawn(points, EYES, side))
        outwards = _along(pixels, line[-1], line[0])
        found[0] += lid
        found[1] += lid * _ramp(outwards * 1.6 - 0.6)
    return found


def _liner(points: np.ndarray, side: int, eye: float) -> np.ndarray:
    """(2,S,S): thin lines along the upper and the lower lashes, thinner towards the nose."""
    pixels = _pixels(side)
    found = []
    for lids, width in ((UPPER_LIDS, 0.022), (LOWER_LIDS, 0.014)):
        lines = []
        for lid in lids:
            line = points[list(lid)]
            outwards = _along(pixels, line[-1], line[0])
            thick = width * eye * (0.5 + 0.5 * outwards)
            lines.append(np.exp(-((_distance(pixels, line) / thick) ** 2) / 2) * _ramp(outwards * 3))
        found.append(np.max(lines, axis=0))
    return np.stack(found)


@dataclass(frozen=True, eq=False)
class Cover:
    """What hides skin: bare (S,S) in [0,1] is 1 where skin is seen, movable (S,S) 0 on masks and frames of glasses."""

    bare: np.ndarray
    movable: np.ndarray

    @classmethod
    def of(cls, picture: np.ndarray, points: np.ndarray, within: np.ndarray, eye: float) -> Self:
        """Of a picture (3,S,S) in [-1,1]: skin has the colour of most of what is ``within`` the face (S,S) and warm."""
        light = ((picture + 1) / 2).clip(0.02) ** 2.2
        brightness = np.log(np.tensordot(np.array(GREY_WEIGHTS, np.float32), light, 1))
        chroma = np.stack([np.log(light[0] / light[1]), np.log(light[2] / light[1])])
        chroma = np.stack([_softened(each, 0.012 * eye) for each in chroma])
        sure = within > 0.5
        warm = sure & (chroma[0] > WARM) & (chroma[1] < 0)
        sure = warm if warm.sum() > sure.sum() / 6 else sure  # in black and white nothing is warm
        middle = np.median(chroma[:, sure], axis=1)[:, None, None]
        spread = np.maximum(1.48 * np.median(np.abs(chroma - middle)[:, sure], axis=1), 0.06)[:, None, None]
        strange = (((chroma - middle) / (3.5 * spread)) ** 2).sum(0)
        # Shadows on skin are broad; hair, frames and lashes are narrow and much darker than what is around them.
        dark = np.clip((np.median(brightness[sure]) - 1.1 - brightness) / 0.5, 0, None) ** 2
        closed = ndimage.grey_closing(brightness, size=max(round(0.14 * eye), 3))
        line = (np.clip(closed - brightness - 0.30, 0, None) / 0.15) ** 2
        bare = _ramp(1.6 * _softened(np.exp(-(strange + dark + line)), 0.02 * eye) - 0.3)
        foreign = np.where(dark < 1, 1 - np.exp(-strange / 2), 0) * within
        foreign = np.maximum(foreign, (1 - np.exp(-line)) * within * _around_eyes(points, within.shape[0], eye))
        # Lips, eyes and brows have other colours than skin, and say nothing: what is around them decides.
        share = _softened(foreign, 0.06 * eye) / _softened(within, 0.06 * eye).clip(0.05)
        movable = (1 - _ramp(3 * share - 0.3)) * (1 - _near_covers(foreign, eye))
        if is_masked(bare, points, eye):  # its upper edge would pass for frames of glasses
            hidden = _softened(_drawn(points, (LOWER,), within.shape[0]), 0.03 * eye)
            return cls(bare * (1 - _ramp(2 * hidden)), movable * (1 - _ramp(2 * hidden)))
        glasses = _glasses(picture, points, eye) if wears_glasses(picture, points, eye) else 0
        return cls(bare, movable * (1 - glasses))


def is_masked(bare: np.ndarray, points: np.ndarray, eye: float) -> bool:
    """Whether a mask or a scarf hides the lower half of a face: at nose, cheeks and chin no skin is seen."""
    pixels = _pixels(len(bare))
    for places in (NOSE_TIP, *LOWER_FACE):
        near = sum(np.exp(-((_distance(pixels, points[[place]]) / (AROUND * eye)) ** 2) / 2) for place in places)
        if (bare * near).sum() > UNSEEN * near.sum():
            return False
    return True


def _near_covers(foreign: np.ndarray, eye: float) -> np.ndarray:
    """(S,S): 1 on large things that are not skin and where pixels could be fetched from them, and fading from there."""
    labels, _ = ndimage.label(foreign > 0.5)
    large = np.bincount(labels.ravel()) >= LARGE * eye**2
    large[0] = False
    if not large.any():
        return np.zeros_like(foreign)
    away = ndimage.distance_transform_edt(~large[labels]) / eye
    return 1 - _ramp(away / NEAR - 0.5)


def wears_glasses(picture: np.ndarray, points: np.ndarray, eye: float) -> bool:
    """Whether an edge crosses the bridge of the nose and one lies below each eye, as frames do, also thin ones.

    Or whether it is dark below the eyes, as it is behind sunglasses.
    """
    brightness, ways = _below_eyes(picture, points, eye)
    face = np.median(brightness[_drawn(points, (OVAL,), len(brightness)) > 0.5])
    if np.mean([_fetched(brightness, way[:9]) for way in ways]) - face < SUNGLASSES:
        return True
    bridge, _ = _edge(brightness, points[[8, 168, 6, 197]], 0.07, points, eye)
    return bridge > FRAMES[0] and min(_edge(brightness, way, 0.1, points, eye)[0] for way in ways) > FRAMES[1]


def _below_eyes(
    picture: np.ndarray, points: np.ndarray, eye: float, end: float = 1.0
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The logarithm of a picture's brightness (S,S), and the ways (25,2) from both lower lids to the cheeks.

    The first of such a way is lashes, and left out; its next third lies behind a lens. end: how far they go on.
    """
    brightness = _softened(np.log((picture.mean(0) + 1) / 2 + DARKEST), SHADE[0] * eye)
    shares = np.linspace(LASHES, end, 25)[:, None]
    return brightness, [points[lid] + shares * (points[cheek] - points[lid]) for lid, cheek in CHEEKS]


def _glasses(picture: np.ndarray, points: np.ndarray, eye: float) -> np.ndarray:
    """(S,S): where glasses are, and the eyes and brows behind them: 1 there, and fading from there."""
    brightness, ways = _below_eyes(picture, points, eye, LARGEST)
    away = ndimage.distance_transform_edt(_drawn(points, (*EYES, *BROWS), len(brightness)) < 0.5) / eye
    rims = [place for steep, place in (_edge(brightness, way, 0.1, points, eye) for way in ways) if steep > FRAMES[1]]
    # Large ones reach farther down than most; a rim is a little wider than its edge.
    reach = max([GLASSES[0], *(float(_fetched(away, rim[None])[0]) + RIM for rim in rims)])
    return 1 - _ramp((away - reach) / (GLASSES[1] - GLASSES[0]))


def _edge(
    brightness: np.ndarray, line: np.ndarray, half: float, points: np.ndarray, eye: float
) -> tuple[float, np.ndarray]:
    """How steep the steepest edge is that a bar of ``half`` eye distances to both sides meets along a polyline (K,2).

    In logarithms of brightness for each 4 % of an eye distance; an edge counts that half of the bar meets at once. And
    its place (2,) on the line.
    """
    across = (points[473] - points[468]) / np.linalg.norm(points[473] - points[468])
    lengths = np.concatenate([[0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    way = np.linspace(0, lengths[-1], 60)
    middle = np.stack([np.interp(way, lengths, line[:, axis]) for axis in (0, 1)], axis=-1)
    values = _fetched(brightness, middle[:, None] + np.linspace(-1, 1, 9)[:, None] * half * eye * across)
    steps = np.median(np.abs(np.diff(values, axis=0)) * 0.04 * eye / max(way[1], 1e-6), axis=1)
    return float(steps.max()), middle[steps.argmax()]


def _fetched(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values (S,S) at places (...,2) as (x, y), between pixels, too."""
    return ndimage.map_coordinates(values, [places[..., 1], places[..., 0]], order=1, mode="nearest")


def _around_eyes(points: np.ndarray, side: int, eye: float) -> np.ndarray:
    """(S,S): where frames of glasses are; brows and lashes left out."""
    wide = _softened(_drawn(points, (*EYES, *BROWS), side), 0.3 * eye) > 0.05
    return wide & (_softened(_drawn(points, (*EYES, *BROWS), side), 0.05 * eye) < 0.02)
