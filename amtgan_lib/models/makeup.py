"""The part of a makeup that needs no learning: its colours, carried over by attentive morphing.

The residual generator starts from this change and adds its own. It is closed-form and smooth, so it keeps the
source's structure, works for any reference, and scales region by region.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib.models.morphing import STRIDE, morph

# At 128 px, in pixels, per region (lip, skin, eyes): blur of the carried colours (None: one colour for the region)
# and softness of the region's border. Chosen on photographs: smaller blurs carry the reference's shading along,
# larger ones lose where the eye shadow sits.
BLUR = (None, None, 4.0)
SOFTNESS = (1.0, 6.0, 4.0)
# Standard deviations of skin colour within which a pixel counts as skin (hair, glasses and beards do not).
LIKENESS = 2.0


def colour_transfer(
    source: Tensor,
    reference: Tensor,
    source_masks: Tensor,
    reference_masks: Tensor,
    source_landmarks: Tensor,
    reference_landmarks: Tensor,
    strength: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Tensor:
    """The change (N,3,H,W), in [-1,1] units, that gives the source's lip, skin and eyes the reference's colours.

    Arguments as ``Generator.forward``; ``strength`` scales lip, skin and eyes. A region that is empty on either side
    changes nothing. Lips are laid over eyes, and eyes over skin.
    """
    landmarks = (source_landmarks, reference_landmarks)
    scale = source.shape[-1] / 128
    source_skin = _skin_likeness(source, source_masks[:, 1:2])
    reference_skin = _skin_likeness(reference, reference_masks[:, 1:2])
    change = torch.zeros_like(source)
    for region in (1, 2, 0):
        inside, other = source_masks[:, region : region + 1], reference_masks[:, region : region + 1]
        members = inside if region == 0 else inside * source_skin
        present = (members.sum((2, 3), keepdim=True) > 0) & (other.sum((2, 3), keepdim=True) > 0)
        soft = blur(members, SOFTNESS[region] * scale) * present
        if BLUR[region] is None:
            others = other if region == 0 else other * reference_skin
            shift = _mean(reference, others) - _mean(source, members)
        else:
            shift = _morphed_shift(source, reference, inside, other, soft, landmarks, BLUR[region] * scale)
        change = change * (1 - soft) + strength[region] * soft * shift
    return change


def _morphed_shift(
    source: Tensor,
    reference: Tensor,
    inside: Tensor,
    other: Tensor,
    soft: Tensor,
    landmarks: tuple[Tensor, Tensor],
    sigma: float,
) -> Tensor:
    """Low-pass colours of the reference's region, attended to from the source's positions, minus the source's own."""
    colours = _low_pass(reference, other, sigma)[:, :, ::STRIDE, ::STRIDE]
    values = torch.cat((colours, torch.ones_like(colours[:, :1])), dim=1)
    nothing = torch.zeros_like(colours[:, :1])  # relative positions alone decide, no visual features
    asked = F.max_pool2d((soft > 0.02).to(source.dtype), 2 * STRIDE + 1, 1, STRIDE)
    carried = morph(nothing, nothing, values, asked, other, *landmarks)
    # The last value counts how much of the attention fell into the region; the rest carries no colour.
    colours = carried[:, :3] / carried[:, 3:].clamp_min(1e-4)
    return _between_samples(colours) - _low_pass(source, inside, sigma)


def _between_samples(samples: Tensor) -> Tensor:
    """(N,C,h,w) taken at every fourth pixel, from the first on, back to (N,C,4h,4w) with each sample in its place."""
    height, width = (STRIDE * (side - 1) + 1 for side in samples.shape[2:])
    full = F.interpolate(samples, size=(height, width), mode="bilinear", align_corners=True)
    return F.pad(full, (0, STRIDE - 1, 0, STRIDE - 1), mode="replicate")


def _skin_likeness(image: Tensor, skin: Tensor) -> Tensor:
    mean = _mean(image, skin)
    squares = (image - mean).square().mean(1, keepdim=True)
    variance = (squares * skin).sum((2, 3), keepdim=True) / skin.sum((2, 3), keepdim=True).clamp_min(1)
    return torch.exp(-squares / (2 * LIKENESS**2 * variance.clamp_min(1e-3)))


def _mean(image: Tensor, mask: Tensor) -> Tensor:
    return (image * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp_min(1e-3)


def _low_pass(image: Tensor, mask: Tensor, sigma: float) -> Tensor:
    return blur(image * mask, sigma) / blur(mask, sigma).clamp_min(1e-3)


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N,C,H,W), border pixels repeated."""
    radius = max(round(1.5 * sigma), 1)
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(image.shape[1], 1, -1)
    rows = F.conv2d(F.pad(image, (radius, radius, 0, 0), mode="replicate"), kernel.unsqueeze(2), groups=image.shape[1])
    return F.conv2d(F.pad(rows, (0, 0, radius, radius), mode="replicate"), kernel.unsqueeze(3), groups=image.shape[1])
