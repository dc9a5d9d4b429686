"""Draw portraits: paint, light, photograph; with their landmarks and regions, exact because they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib.images import blur
from amtgan_lib.portraits import features, hair, palette, skin
from amtgan_lib.portraits.anatomy import EXTENT, bump
from amtgan_lib.portraits.canvas import Canvas, Scenery, noise_grid, scenery
from amtgan_lib.portraits.traits import Traits

SUPERSAMPLING = 2  # per axis: edges finer than a pixel (lashes, strands) come out as greys instead of steps
SMALLEST, LARGEST = 64, 512
CHUNK_PIXELS = 2**17  # painted together: more fall out of the processor's cache, and drawing gets slower

NOSE_TIP = 0.075  # below the ridge's highest place: where the landmark mesh of `faces` sees the tip of drawn noses

# Classes of the parse map in the published order (faces.PARSE_ORDERS): skin 1, upper and lower lip 7.
SKIN_CLASS, LIP_CLASS, MOUTH_CLASS = 1, 7, 8


@dataclass(frozen=True, eq=False)
class Portraits:
    """N drawn photos: image (N, 3, S, S) in [-1, 1]; landmarks (N, 68, 2) and points (N, 5, 2) as (y, x) pixels.

    points: eyes (left and right in the picture), nose tip, mouth corners. parse (N, S, S) uint8: 1 skin, 7 lips,
    8 the open mouth, 0 everything else (hair, glasses and beards hide skin).
    """

    image: Tensor
    landmarks: Tensor
    points: Tensor
    parse: Tensor

    def __len__(self) -> int:
        return len(self.image)


@torch.no_grad()
def draw(who: Traits, makeup: Traits, moment: Traits, size: int = 128) -> Portraits:
    """Draw N people in N makeups at N moments, ``size`` pixels wide and high (64 to 512, even).

    Same rows, same picture. With another makeup and everything else equal, the result is the same photo of the same
    face in that makeup: the ground truth of makeup transfer. Raises ValueError for other sizes and unequal counts.
    """
    if not SMALLEST <= size <= LARGEST or size % 2:
        raise ValueError(f"size is {size}; expected an even number from {SMALLEST} to {LARGEST}")
    if not len(who) == len(makeup) == len(moment):
        raise ValueError(f"{len(who)} people, {len(makeup)} makeups and {len(moment)} moments: expected equal numbers")
    each = max(1, CHUNK_PIXELS // (size * SUPERSAMPLING) ** 2)
    chunks = [slice(start, start + each) for start in range(0, len(who), each)]
    parts = [_draw(who[chunk], makeup[chunk], moment[chunk], size) for chunk in chunks]
    return Portraits(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Portraits)))


def _draw(who: Traits, makeup: Traits, moment: Traits, size: int) -> Portraits:
    scene = scenery(who, makeup, moment, size * SUPERSAMPLING)
    canvas, layers = _painted(scene)
    lit = _lit(scene, canvas, layers["skin"])
    image = _photographed(F.avg_pool2d(lit, SUPERSAMPLING), moment)
    landmarks = _projected(scene, scene.anatomy.landmarks(), size)
    return Portraits(image, landmarks, _points(scene, size), _parsed(layers))


def _painted(scene: Scenery) -> tuple[Canvas, dict[str, Tensor]]:
    """All layers from back to front, and where the parts of the face can be seen."""
    canvas = Canvas(_backdrop(scene), torch.ones_like(scene.x))
    hair.behind(scene, canvas)
    skin.neck_and_clothes(scene, canvas)
    skin.ears(scene, canvas)
    face = skin.face(scene, canvas)
    skin.nose(scene, canvas)
    skin.powder(scene, canvas, face)
    skin.sockets(scene, canvas)
    features.shadow(scene, canvas, face)
    balls = features.eyes(scene, canvas)
    beard = hair.beard(scene, canvas, face)
    lips, mouth = features.lips(scene, canvas)
    features.brows(scene, canvas, hair.colour(scene.who))
    front = hair.front(scene, canvas, face)
    frames = hair.glasses(scene, canvas)
    hidden = 1 - torch.maximum(front, frames)
    bare = face * hidden * (1 - balls.clamp(0, 1)) * (1 - lips) * (1 - mouth) * (1 - beard)
    return canvas, {"skin": bare, "lips": lips * hidden, "mouth": mouth * hidden}


def _backdrop(scene: Scenery) -> Tensor:
    moment, (n, h, w) = scene.moment, scene.x.shape
    base = palette.hue(moment.raw("backdrop_hue"), moment.backdrop_light.flatten(), 0.30)
    other = palette.hue(moment.raw("backdrop_hue") + 0.15, moment.backdrop_light.flatten() * 0.7, 0.35)
    soft = noise_grid(moment, (1, 4, 4), 0)
    blobs = F.interpolate(soft, (h, w), mode="bicubic", align_corners=True).clamp(-1.5, 1.5) * 0.22
    slope = 0.5 + 0.25 * scene.picture_y + 0.25 * scene.picture_x * (2 * moment.backdrop_kind - 1)
    share = (slope[:, None] + blobs * (moment.backdrop_kind[..., None] > 0.4)).clamp(0, 1)
    return (base * (1 - share) + other * share).expand(n, 3, h, w).contiguous()


def _lit(scene: Scenery, canvas: Canvas, skin_cover: Tensor) -> Tensor:
    """Albedo times light: a key light with soft falloff, ambient light from above, shine on the skin."""
    moment, who, x, y = scene.moment, scene.who, scene.x, scene.y
    height = scene.pose.depth(x, y, scene.anatomy.relief(x, y) + _details(scene))
    step = 2 * EXTENT / scene.x.shape[-1] / moment.zoom
    slope_y, slope_x = torch.gradient(height, dim=(1, 2))
    norm = torch.rsqrt((slope_x / step).square() + (slope_y / step).square() + 1)
    nx, ny, nz = -slope_x / step * norm, -slope_y / step * norm, norm
    light = torch.rsqrt(moment.light_x.square() + moment.light_y.square() + 1)
    lx, ly, lz = moment.light_x * light, moment.light_y * light, light
    lambert = nx * lx + ny * ly + nz * lz
    diffuse = (0.12 + 0.88 * lambert).clamp(min=0)
    ambient = moment.ambient * (0.85 - 0.15 * ny)
    key = 1.02 - 0.60 * moment.ambient
    bright = ambient + key * diffuse
    # Half-way vector between the light and the viewer.
    half = torch.rsqrt(lx.square() + ly.square() + (lz + 1).square())
    shine = ((nx * lx + ny * ly + nz * (lz + 1)) * half).clamp(min=0).pow(22) * moment.shine * 0.17 * skin_cover
    shine = shine * (1 - 0.6 * scene.makeup.foundation_opacity)
    warm = moment.light_warmth[..., None] * torch.tensor([0.045, 0.0, -0.06]).view(1, 3, 1, 1)
    # The square, and in the end its root, stand for sRGB's curve.
    linear = canvas.rgb.clamp(0, 1).square() * (bright * canvas.shade)[:, None] * (1 + warm)
    # Light that has been under the skin is redder where it is dim.
    dim = (1 - bright).clamp(0, 0.6) * skin_cover * (1 - 0.6 * who.skin)
    linear = linear * (1 + dim[:, None] * torch.tensor([0.10, -0.04, -0.05]).view(1, 3, 1, 1))
    linear = linear + (shine * canvas.shade)[:, None]
    return (linear * moment.exposure[..., None]).clamp(min=1e-6).sqrt()


def _details(scene: Scenery) -> Tensor:
    """Heights too small to move a pixel, but not too small to catch light."""
    who, x, y, anatomy = scene.who, scene.x, scene.y, scene.anatomy
    side = x.abs()
    sockets = -(0.05 + 0.09 * who.eye_depth) * bump(side - who.eye_distance, y + 0.02, 0.26, 0.16)
    balls = 0.035 * bump(side - who.eye_distance, y, 0.13, 0.09)
    brow = (0.03 + 0.05 * who.masculine) * bump(side - 0.40, y + 0.25, 0.36, 0.10)
    cheeks = (0.03 + 0.07 * who.cheekbones + 0.04 * scene.moment.smile) * bump(side - 0.50, y - 0.40, 0.26, 0.17)
    wings = 0.07 * bump(side - who.nose_width * 0.78, y - who.nose_length * 0.93, who.nose_width * 0.36, 0.075)
    lip = 0.045 * bump(x, y - anatomy.mouth_y + who.upper_lip * 0.5, anatomy.mouth_half_width * 0.8, 0.04)
    lip = lip + 0.055 * bump(x, y - anatomy.mouth_y - who.lower_lip * 0.55, anatomy.mouth_half_width * 0.7, 0.05)
    groove = -0.02 * bump(x, y - (who.nose_length + anatomy.mouth_y) / 2, 0.035, 0.09)
    return sockets + balls + brow + cheeks + wings + lip + groove + 0.0022 * scene.middle + 0.0007 * scene.fine


def _photographed(image: Tensor, moment: Traits) -> Tensor:
    """Contrast, lens blur and sensor noise; (N, 3, S, S) in [0, 1] to [-1, 1]."""
    size = image.shape[-1]
    image = 0.5 + (image - 0.5) * moment.contrast[..., None]
    sigma = (0.15 + 0.75 * moment.blur.flatten().square()) * size / 128
    image = blur(image, sigma, radius=max(1, round(2 * size / 128)))
    grain = noise_grid(moment, (3, size, size), 1) * (0.002 + 0.012 * moment.noise[..., None])
    return ((image + grain) * 2 - 1).clamp(-1, 1)


def _projected(scene: Scenery, places: Tensor, size: int) -> Tensor:
    """Places (N, K, 2) as (x, y) of the face's plane to pixels (N, K, 2) as (y, x)."""
    x, y = places[..., :1], places[..., 1:]
    picture = scene.pose.project(x, y, scene.anatomy.relief(x, y))
    return torch.cat([(each + 1) * size / 2 - 0.5 for each in reversed(picture)], dim=2)


def _points(scene: Scenery, size: int) -> Tensor:
    """Eyes, nose tip, mouth corners, (N, 5, 2) as (y, x) pixels."""
    who, anatomy = scene.who, scene.anatomy
    zero = torch.zeros_like(who.eye_distance)
    corner = anatomy.mouth_line(torch.ones_like(zero))
    places = [
        (-who.eye_distance, zero - 0.02),
        (who.eye_distance, zero - 0.02),
        (zero, who.nose_length * 0.86 + NOSE_TIP),
    ]
    places += [(-anatomy.mouth_half_width, corner), (anatomy.mouth_half_width, corner)]
    return _projected(scene, torch.cat([torch.cat(place, dim=2) for place in places], dim=1), size)


def _parsed(layers: dict[str, Tensor]) -> Tensor:
    share = {name: F.avg_pool2d(layers[name][:, None], SUPERSAMPLING)[:, 0] for name in ("skin", "lips", "mouth")}
    parse = torch.zeros_like(share["skin"], dtype=torch.uint8)
    parse[share["skin"] >= 0.5] = SKIN_CLASS
    # Where lips hardly part, neither they nor the mouth have half a pixel: it goes to the larger one.
    either, lips = share["lips"] + share["mouth"] >= 0.5, share["lips"] >= share["mouth"]
    parse[either] = MOUTH_CLASS
    parse[either & lips] = LIP_CLASS
    return parse
