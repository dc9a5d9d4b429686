"""The makeup loss: histogram matching of masked regions (BeautyGAN, PSGAN), and the distance it is measured by."""

from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256


def histogram_match(image: Tensor, reference: Tensor, image_mask: Tensor, reference_mask: Tensor) -> Tensor:
    """Colours of the masked `image`, mapped per channel onto the colour histogram of the masked `reference`.

    Shape: images (N,3,H,W) in [-1,1], masks (N,1,H,W) in {0,1}; the reference may have another size.
    Returns (N,3,H,W) float32 levels in [0,255], detached, 0 outside the mask. Where the reference mask is empty there
    is nothing to match and the image's own levels come back.

    Follows the published code to its accidents: 256 bins of truncated levels, which make the target half a level too
    dark, and its transfer table (see `_published_table`).
    """
    _check_regions(image, reference, image_mask, reference_mask)
    inside, reference_inside = image_mask > 0.5, reference_mask > 0.5
    return _matched(_to_levels(image) * inside, _to_levels(reference), inside, reference_inside)


def histogram_loss(
    image: Tensor,
    reference: Tensor,
    image_mask: Tensor,
    reference_mask: Tensor,
    match: Tensor | None = None,
) -> Tensor:
    """Makeup loss of one region: L1 between the masked image and its histogram-matched, detached target.

    Shape: images (N,3,H,W) in [-1,1], masks (N,1,H,W) in {0,1}. Returns a scalar in colour levels (0-255), the mean
    over all 3xHxW values, not only the masked ones, as published. An empty mask on either side: loss and gradient 0.

    `match` is the image whose colours are mapped: by default the image itself (published AMT-GAN), or the source photo
    (BeautyGAN, whose L2 AMT-GAN replaces by L1).
    """
    _check_regions(image, reference, image_mask, reference_mask)
    if match is not None and match.shape != image.shape:
        raise ValueError(f"match has shape {tuple(match.shape)}, expected that of the image, {tuple(image.shape)}")
    reference_inside = reference_mask > 0.5
    inside = (image_mask > 0.5) & _any_pixel(reference_inside)
    levels = _to_levels(image) * inside
    start = levels if match is None else _to_levels(match) * inside
    return F.l1_loss(levels, _matched(start, _to_levels(reference), inside, reference_inside))


def histogram_loss_as_shipped(image: Tensor, reference: Tensor, image_mask: Tensor, reference_mask: Tensor) -> Tensor:
    """Makeup loss as the released training loop really computes it: 0 unless a mask reaches the first image row.

    The loop hands over 4-D masks, the loss adds an axis and reads index columns 2 and 3 as row and column; those hold
    the constant 0 and the row. So it matches the pixels (0, r), once for every masked pixel of row r, and everything
    outside the mask is black on both sides (also seen in PSGAN: wtjiang98/PSGAN#29). Shapes and unit as
    `histogram_loss`; H must equal W, as there.
    """
    _check_regions(image, reference, image_mask, reference_mask)
    if image.shape[-1] != image.shape[-2] or reference.shape[-1] != reference.shape[-2]:
        raise ValueError(f"square images expected, got {tuple(image.shape)} and {tuple(reference.shape)}")
    inside, reference_inside = image_mask > 0.5, reference_mask > 0.5
    levels, reference_levels = _to_levels(image) * inside, _to_levels(reference) * reference_inside
    target = _matched(levels, reference_levels, _misread_index(inside), _misread_index(reference_inside))
    return F.l1_loss(levels, target)


def makeup_loss(
    image: Tensor,
    reference: Tensor,
    image_masks: Tensor,
    reference_masks: Tensor,
    weights: Sequence[float] = (1.0, 0.1, 1.0),
    region_loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = histogram_loss,
) -> Tensor:
    """Weighted sum of the region losses for lip, skin and eyes.

    Shape: images (N,3,H,W) in [-1,1], masks (N,3,H,W) in {0,1}. `region_loss` may be `histogram_loss_as_shipped`, or a
    partial of `histogram_loss`.
    """
    regions = len(weights)
    for name, masks in (("image_masks", image_masks), ("reference_masks", reference_masks)):
        if masks.ndim != 4 or masks.shape[1] != regions:
            raise ValueError(
                f"{name} has shape {tuple(masks.shape)}, expected (N,{regions},H,W): one channel per weight"
            )
    pairs = zip(weights, image_masks.split(1, dim=1), reference_masks.split(1, dim=1))
    return sum(weight * region_loss(image, reference, own, other) for weight, own, other in pairs)


@torch.no_grad()
def histogram_distance(image: Tensor, reference: Tensor, image_mask: Tensor, reference_mask: Tensor) -> Tensor:
    """How far the masked colours of two images lie apart: 1-Wasserstein distance per channel, mean over RGB.

    W1 = integral |F_a - F_b|, here the sum over 256 levels. Shapes as `histogram_loss`. Returns (N,) in levels (0-255);
    nan where a mask is empty: an unmeasured region must not look like a perfect one.
    """
    _check_regions(image, reference, image_mask, reference_mask)
    cdfs = []
    for picture, mask in ((image, image_mask), (reference, reference_mask)):
        counts = _histogram(_bins(_to_levels(picture), exact=True), mask > 0.5)
        cdfs.append(counts.cumsum(-1) / counts.sum(-1, keepdim=True))
    return (cdfs[0] - cdfs[1]).abs().sum(-1).mean(-1)


def _to_levels(image: Tensor) -> Tensor:
    """[-1,1] of any float type to float32 levels in [0,255]; bfloat16 could not tell the upper levels apart."""
    return ((image.float() + 1) / 2).clamp(0, 1) * 255


def _bins(levels: Tensor, exact: bool = False) -> Tensor:
    """Bin of every level: truncated as published, or rounded. The clamp keeps a nan from indexing out of bounds."""
    return (levels.detach().round() if exact else levels.detach()).long().clamp(0, LEVELS - 1)


def _histogram(bins: Tensor, weights: Tensor) -> Tensor:
    """Bins (N,3,H,W) counted `weights` (N,1,H,W) times: (N,3,256); integers, so that no order of addition matters."""
    counts = torch.zeros(*bins.shape[:2], LEVELS, dtype=torch.int64, device=bins.device)
    return counts.scatter_add_(2, bins.flatten(2), weights.long().expand_as(bins).flatten(2))


def _added_one_by_one(frequencies: Tensor) -> Tensor:
    """Sums along the last axis, each of the one before and the next in float32: torch.cumsum has more precision."""
    if frequencies.device.type == "cpu":
        return torch.from_numpy(np.add.accumulate(frequencies.numpy(), axis=-1))
    # On a device 255 additions of all rows at once, without waiting for any.
    return torch.stack(list(accumulate(frequencies.unbind(-1), torch.add)), dim=-1)


def _published_table(counts: Tensor, reference_counts: Tensor) -> Tensor:
    """Transfer table (N,3,256) of the published code: the first j >= 1 with F_ref(j-1) <= F(i) <= F_ref(j), else i.

    The last digit of the cumulative frequencies decides whether the brightest bin finds a j at all, which is worth half
    a percent of the lip loss: they are added as the published code does.
    """
    both = torch.stack([counts, reference_counts]).float()
    frequencies = both / both.sum(-1, keepdim=True).clamp(min=1)
    own, other = _added_one_by_one(frequencies)
    first = torch.searchsorted(other, own).clamp(min=1)
    level = torch.arange(LEVELS, device=counts.device).expand_as(first)
    unmapped = (first == LEVELS) | (own < other[..., :1]) | (level == 0) | (level == LEVELS - 1)
    return torch.where(unmapped, level, first)


@torch.no_grad()
def _matched(levels: Tensor, reference: Tensor, weights: Tensor, reference_weights: Tensor) -> Tensor:
    """Levels (N,3,H,W) with every pixel of non-zero weight replaced by its entry in the transfer table."""
    bins = _bins(levels)
    table = _published_table(_histogram(bins, weights), _histogram(_bins(reference), reference_weights))
    mapped = table.gather(2, bins.flatten(2)).view_as(bins).to(levels.dtype)
    return torch.where((weights > 0) & _any_pixel(reference_weights), mapped, levels)


def _misread_index(inside: Tensor) -> Tensor:
    """Mask (N,1,H,H) to how often the released code visits every pixel: (0, r) once per masked pixel of row r."""
    visits = torch.zeros_like(inside, dtype=torch.int64)
    visits[:, :, 0, :] = inside.sum(dim=-1)
    return visits


def _any_pixel(mask: Tensor) -> Tensor:
    return (mask > 0).flatten(1).any(dim=1).view(-1, 1, 1, 1)


def _check_regions(image: Tensor, reference: Tensor, image_mask: Tensor, reference_mask: Tensor) -> None:
    for name, picture, mask in (("image", image, image_mask), ("reference", reference, reference_mask)):
        if picture.ndim != 4 or picture.shape[1] != 3 or picture.shape[0] != image.shape[0]:
            raise ValueError(
                f"{name} has shape {tuple(picture.shape)}, expected (N,3,H,W) with the same N for both images"
            )
        expected = (picture.shape[0], 1, *picture.shape[2:])
        if tuple(mask.shape) != expected:
            raise ValueError(
                f"{name}_mask has shape {tuple(mask.shape)}, expected {expected}: one mask channel per image, "
                "no missing and no extra axis (an extra one is how the released code lost its makeup loss)"
            )
