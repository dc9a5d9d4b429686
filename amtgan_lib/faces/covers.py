"""What hides skin: glasses, masks, hands and hair, told by colours and edges, which stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import ndimage

from amtgan_lib.faces.drawing import AROUND, DARKEST, SHADE, distance, drawn, grid, ramp, softened
from amtgan_lib.faces.regions import BROWS, EYES, OVAL
from amtgan_lib.images import GREY_WEIGHTS

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
# The logarithms of red and of blue to green, in linear light, of most of a face. Beyond, coloured lamps shine on it,
# and what is in another light is not foreign. Of 52 people of the training split: 0.11 to 1.22 and -1.09 to 0.14.
DAYLIGHT = np.array([(-0.3, 2.0), (-1.8, 0.4)])
WARM = 0.03  # skin of any colour is redder than grey: the logarithm of red to green, in linear light


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
        chroma = np.stack([softened(each, 0.012 * eye) for each in chroma])
        sure = within > 0.5
        warm = sure & (chroma[0] > WARM) & (chroma[1] < 0)
        sure = warm if warm.sum() > sure.sum() / 6 else sure  # in black and white nothing is warm
        middle = np.median(chroma[:, sure], axis=1)[:, None, None]
        spread = np.maximum(1.48 * np.median(np.abs(chroma - middle)[:, sure], axis=1), 0.06)[:, None, None]
        strange = (((chroma - middle) / (3.5 * spread)) ** 2).sum(0)
        if ((middle[:, 0, 0] < DAYLIGHT[:, 0]) | (middle[:, 0, 0] > DAYLIGHT[:, 1])).any():
            strange = np.zeros_like(strange)
        # Shadows on skin are broad; hair, frames and lashes are narrow and much darker than what is around them.
        dark = np.clip((np.median(brightness[sure]) - 1.1 - brightness) / 0.5, 0, None) ** 2
        closed = ndimage.grey_closing(brightness, size=max(round(0.14 * eye), 3))
        line = (np.clip(closed - brightness - 0.30, 0, None) / 0.15) ** 2
        bare = ramp(1.6 * softened(np.exp(-(strange + dark + line)), 0.02 * eye) - 0.3)
        foreign = np.where(dark < 1, 1 - np.exp(-strange / 2), 0) * within
        foreign = np.maximum(foreign, (1 - np.exp(-line)) * within * _around_eyes(points, within.shape[0], eye))
        # Lips, eyes and brows have other colours than skin, and say nothing: what is around them decides.
        share = softened(foreign, 0.06 * eye) / softened(within, 0.06 * eye).clip(0.05)
        movable = (1 - ramp(3 * share - 0.3)) * (1 - _near_covers(foreign, eye))
        if is_masked(bare, points, eye):  # its upper edge would pass for frames of glasses
            hidden = softened(drawn(points, (LOWER,), within.shape[0]), 0.03 * eye)
            return cls(bare * (1 - ramp(2 * hidden)), movable * (1 - ramp(2 * hidden)))
        glasses = _glasses(picture, points, eye) if wears_glasses(picture, points, eye) else 0
        return cls(bare, movable * (1 - glasses))


def is_masked(bare: np.ndarray, points: np.ndarray, eye: float) -> bool:
    """Whether a mask or a scarf hides the lower half of a face: at nose, cheeks and chin no skin is seen."""
    pixels = grid(len(bare))
    for places in (NOSE_TIP, *LOWER_FACE):
        near = sum(np.exp(-((distance(pixels, points[[place]]) / (AROUND * eye)) ** 2) / 2) for place in places)
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
    return 1 - ramp(away / NEAR - 0.5)


def wears_glasses(picture: np.ndarray, points: np.ndarray, eye: float) -> bool:
    """Whether an edge crosses the bridge of the nose and one lies below each eye, as frames do, also thin ones.

    Or whether it is dark below the eyes, as it is behind sunglasses.
    """
    brightness, ways = _below_eyes(picture, points, eye)
    face = np.median(brightness[drawn(points, (OVAL,), len(brightness)) > 0.5])
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
    brightness = softened(np.log((picture.mean(0) + 1) / 2 + DARKEST), SHADE[0] * eye)
    shares = np.linspace(LASHES, end, 25)[:, None]
    return brightness, [points[lid] + shares * (points[cheek] - points[lid]) for lid, cheek in CHEEKS]


def _glasses(picture: np.ndarray, points: np.ndarray, eye: float) -> np.ndarray:
    """(S,S): where glasses are, and the eyes and brows behind them: 1 there, and fading from there."""
    brightness, ways = _below_eyes(picture, points, eye, LARGEST)
    away = ndimage.distance_transform_edt(drawn(points, (*EYES, *BROWS), len(brightness)) < 0.5) / eye
    rims = [place for steep, place in (_edge(brightness, way, 0.1, points, eye) for way in ways) if steep > FRAMES[1]]
    # Large ones reach farther down than most; a rim is a little wider than its edge.
    reach = max([GLASSES[0], *(float(_fetched(away, rim[None])[0]) + RIM for rim in rims)])
    return 1 - ramp((away - reach) / (GLASSES[1] - GLASSES[0]))


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
    wide = softened(drawn(points, (*EYES, *BROWS), side), 0.3 * eye) > 0.05
    return wide & (softened(drawn(points, (*EYES, *BROWS), side), 0.05 * eye) < 0.02)
