"""Five-point face alignment as a differentiable warp.

The template is the one that ArcFace-style recognisers were trained with, at 112 px, pixel centres at integers.
"""

import math

import torch
import torch.nn.functional as F

from amtgan_lib.faces.crops import TEMPLATE_112 as TEMPLATE_XY

TEMPLATE_SIZE = 112


def template(size: int = TEMPLATE_SIZE) -> torch.Tensor:
    """Return the five template points (5,2) as (y, x) pixels of a `size` x `size` picture, float64.

    Pixel centres are integers, so picture edges (-0.5 and size - 0.5), not centres, are what scales.
    """
    points = torch.from_numpy(TEMPLATE_XY).flip(1)
    return (points + 0.5) * (size / TEMPLATE_SIZE) - 0.5


def similarity(points: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the least-squares similarity `z -> scale * z + shift` from `points` to `target`, both (N,5,2) as (y, x).

    In the plane Umeyama's solution (PAMI 1991, eq. 40-42) without reflection is one complex division: with
    centred points p and q, scale = sum(conj(p) q) / sum(|p|^2), whose modulus is the zoom and whose angle is the
    rotation. Returns complex128 tensors (N,), for points as x + iy.

    Raises ValueError where the five points of a face coincide or are not finite.
    """
    p = torch.complex(points[..., 1].double(), points[..., 0].double())
    q = torch.complex(target[..., 1].double(), target[..., 0].double()).expand_as(p)
    p_centred, q_centred = p - p.mean(1, keepdim=True), q - q.mean(1, keepdim=True)
    spread = p_centred.abs().square().sum(1)
    scale = (p_centred.conj() * q_centred).sum(1) / spread.clamp_min(1e-12)
    if not bool(((spread > 1e-6) & (scale.abs() > 1e-6)).all()):  # `not >` also catches NaN
        raise ValueError("points must be five different finite positions per face; some are coincident or NaN")
    return scale, q.mean(1) - scale * p.mean(1)


def align(images: torch.Tensor, points: torch.Tensor, size: int = TEMPLATE_SIZE) -> torch.Tensor:
    """Warp each face so that its five points lie on the template.

    Shape: images (N,3,H,W) in [-1,1]; points (N,5,2) as (y, x) pixels, order as TEMPLATE_XY; returns
    (N,3,size,size), float32, in [-1,1], black (-1) outside the picture. Differentiable in `images`; `points` are
    constants, which best stay on the CPU wherever the images are: what they decide is decided there, and points on a
    device are waited for. Where a face shrinks by s < 1, ceil(1/s) samples per pixel and axis are averaged, so nothing
    aliases; where it does not, one sample is taken. The result for an image does not depend on the rest of the batch.

    Raises ValueError for other shapes and for coincident points.
    """
    _check(images, points)
    scale, shift = similarity(points.detach().cpu(), template(size))
    samples = [max(1, math.ceil(1 / zoom - 0.05)) for zoom in scale.abs().tolist()]
    shape = tuple(images.shape[-2:])
    places = _inverse_map(scale, shift, shape, size).to(images.device, torch.float32, non_blocking=True)
    with torch.autocast(images.device.type, enabled=False):
        images = images.float()
        if len(set(samples)) == 1:
            return _warp(images, places, size, samples[0])
        groups = zip(images.split(1), places.split(1), samples)
        return torch.cat([_warp(image, place, size, count) for image, place, count in groups])


def _inverse_map(scale: torch.Tensor, shift: torch.Tensor, shape: tuple[int, int], size: int) -> torch.Tensor:
    """Matrices (N,2,3) for `affine_grid`: from template to picture, z = (w - shift) / scale = (a + ib) w + (c + id)."""
    height, width = shape
    inverse, origin = 1 / scale, -shift / scale
    a, b, c, d = inverse.real, inverse.imag, origin.real, origin.imag
    # affine_grid speaks normalised coordinates. With align_corners=False -1 and 1 are the outer pixel edges, so pixel
    # x of a row of n lies at (2x + 1)/n - 1, whatever n: a grid of size*samples positions covers the same square.
    half = (size - 1) / 2
    centre_x, centre_y = a * half - b * half + c, b * half + a * half + d
    x = torch.stack((a * size / width, -b * size / width, (2 * centre_x + 1) / width - 1), dim=1)
    y = torch.stack((b * size / height, a * size / height, (2 * centre_y + 1) / height - 1), dim=1)
    return torch.stack((x, y), dim=1)


def _warp(images: torch.Tensor, places: torch.Tensor, size: int, samples: int) -> torch.Tensor:
    """Return `images` (N,3,H,W) looked up through `places` (N,2,3), `samples` x `samples` averaged per pixel."""
    side = size * samples
    grid = F.affine_grid(places, [len(images), 3, side, side], align_corners=False)
    # grid_sample pads with 0, which is grey in [-1,1]: shift black to 0 and back.
    warped = F.grid_sample(images + 1, grid, mode="bilinear", padding_mode="zeros", align_corners=False) - 1
    return F.avg_pool2d(warped, samples) if samples > 1 else warped


def _check(images: torch.Tensor, points: torch.Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be (N,3,H,W), got {tuple(images.shape)}")
    if tuple(points.shape) != (len(images), 5, 2):
        raise ValueError(f"points must be ({len(images)},5,2) as (y, x) pixels, got {tuple(points.shape)}")
