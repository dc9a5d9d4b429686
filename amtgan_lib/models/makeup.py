"""The part of a makeup that needs no learning: its colours, carried over by attentive morphing.

The residual generator starts from this change and adds its own. It is closed-form and smooth, so it keeps the
source's structure, works for any reference, and scales region by region.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib.images import blur
from amtgan_lib.models.morphing import STRIDE, morph

# At 128 px, in pixels, per region (lip, skin, eyes): blur of the carried colours (None: one colour for the region)
# and softness of the region's border. Chosen on photographs: smaller blurs carry the reference's shading along,
# larger ones lose where the eye shadow sits.
BLUR = (None, None, 4.0)
SOFTNESS = (1.0, 6.0, 4.0)
# Of ``makeup_transfer``. Blur of the carried eye colours; a change of the eyes' colour smaller than FLOOR (in [-1,1]
# units) is shading rather than eye shadow. The lid's ellipse: how far from the lash line to the brow its centre lies,
# and its axes as shares of the eye's width and of that distance. Chosen on 60 drawn training people by their truth.
LID_BLUR, FLOOR = 9.0, 0.03
LID_CENTRE, LID_AXES = 0.15, (0.6, 0.8)
EYES = ((slice(36, 42), slice(17, 22)), (slice(42, 48), slice(22, 27)))  # landmarks: eye and brow of either side
# Standard deviations of skin colour within which a pixel counts as skin (hair, glasses and beards do not).
LIKENESS = 2.0


def colour_transfer(
    source: Tensor,
    reference: Tensor,
    source_masks: Tensor,
    reference_masks: Tensor,
    source_landmarks: Tensor,
    reference_landmarks: Tensor,
    budgets: Sequence[int] | None = None,
    strength: tuple[float, float, float] = (1.0, 1.0, 1.0),
    eye_blur: float = BLUR[2],
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
        soft = _blurred(members, SOFTNESS[region] * scale) * present
        change = change * (1 - soft)
        if strength[region] == 0:
            continue  # what lies beneath is covered all the same
        if BLUR[region] is None:
            others = other if region == 0 else other * reference_skin
            shift = _mean(reference, others) - _mean(source, members)
        else:
            budget = None if budgets is None else budgets[region : region + 1]
            shift = _morphed_shift(source, reference, inside, other, soft, (*landmarks, budget), eye_blur * scale)
        change = change + strength[region] * soft * shift
    return change


def makeup_transfer(source: Tensor, reference: Tensor, *sides: Tensor) -> Tensor:
    """As ``colour_transfer``, but makeup only: lips and upper lids, in colours relative to each face's own skin.

    ``sides`` are the masks of source and reference, the landmarks of both and the optional budgets, in the order of
    ``colour_transfer``.

    The skin keeps its complexion and its light. ``colour_transfer`` gives the source the reference's skin as well:
    the histogram loss of BeautyGAN asks for it, but no makeup does it.
    """
    source_masks, reference_masks, source_landmarks = sides[:3]
    reference = in_light_of(source, reference, source_masks, reference_masks)
    lips = colour_transfer(source, reference, *sides, strength=(1, 0, 0))
    eyes = colour_transfer(source, reference, *sides, strength=(0, 0, 1), eye_blur=LID_BLUR)
    strength = eyes.norm(dim=1, keepdim=True)
    shadow = eyes * (1 - FLOOR / strength.clamp_min(FLOOR))
    return lips + shadow * upper_lids(source_landmarks, *source.shape[2:])


def in_light_of(source: Tensor, reference: Tensor, source_masks: Tensor, reference_masks: Tensor) -> Tensor:
    """The reference (N,3,H,W) with every colour scaled so that its skin has the source's mean colour.

    What is left of a difference between the two is makeup. Where one side has no skin the reference stays as it is.
    """
    own, other = (_skin_colour(*side) for side in ((source, source_masks), (reference, reference_masks)))
    scaled = (reference + 1) * (own + 1).clamp_min(0.05) / (other + 1).clamp_min(0.05) - 1
    both = [masks[:, 1:2].sum((2, 3), keepdim=True) > 0 for masks in (source_masks, reference_masks)]
    return torch.where(both[0] & both[1], scaled.clamp(-1, 1), reference)


def upper_lids(landmarks: Tensor, height: int, width: int) -> Tensor:
    """Soft ellipses (N,1,H,W) in [0,1] over both upper lids, where eye shadow is worn; landmarks (N,68,2) as (y, x).

    An eye whose corners coincide has none.
    """
    places = landmarks.float()
    pixels = torch.stack(
        torch.meshgrid(*(torch.arange(side, device=places.device).float() for side in (height, width)), indexing="ij"),
        dim=-1,
    )
    covers = [_ellipse(pixels, places[:, eye], places[:, brow].mean(1)) for eye, brow in EYES]
    return sum(covers).clamp(max=1)[:, None]


def _ellipse(pixels: Tensor, eye: Tensor, brow: Tensor) -> Tensor:
    """(N,H,W) for pixels (H,W,2), the six points of an eye (N,6,2) and the middle of its brow (N,2)."""
    lash_line, along = eye[:, 1:3].mean(1), eye[:, 3] - eye[:, 0]
    length = along.norm(dim=1, keepdim=True)
    along = along / length.clamp_min(1)
    across = torch.stack((-along[:, 1], along[:, 0]), 1)
    rise = ((brow - lash_line) * across).sum(1, keepdim=True)
    away = pixels - (lash_line + LID_CENTRE * rise * across)[:, None, None]
    axes = along / (LID_AXES[0] * length.clamp_min(1)), across / (LID_AXES[1] * rise.abs().clamp_min(1))
    distance = sum(torch.einsum("nhwc,nc->nhw", away, axis).square() for axis in axes)
    return torch.exp(-distance) * (length > 1)[..., None]


def _morphed_shift(
    source: Tensor,
    reference: Tensor,
    inside: Tensor,
    other: Tensor,
    soft: Tensor,
    landmarks_and_budget: tuple[Tensor, Tensor, Sequence[int] | None],
    sigma: float,
) -> Tensor:
    """Low-pass colours of the reference's region, attended to from the source's positions, minus the source's own."""
    colours = _low_pass(reference, other, sigma)[:, :, ::STRIDE, ::STRIDE]
    values = torch.cat((colours, torch.ones_like(colours[:, :1])), dim=1)
    nothing = torch.zeros_like(colours[:, :1])  # relative positions alone decide, no visual features
    asked = F.max_pool2d((soft > 0.02).to(source.dtype), 2 * STRIDE + 1, 1, STRIDE)
    carried = morph(nothing, nothing, values, asked, other, *landmarks_and_budget)
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


def _skin_colour(image: Tensor, masks: Tensor) -> Tensor:
    return _mean(image, masks[:, 1:2] * _skin_likeness(image, masks[:, 1:2]))


def _mean(image: Tensor, mask: Tensor) -> Tensor:
    return (image * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp_min(1e-3)


def _low_pass(image: Tensor, mask: Tensor, sigma: float) -> Tensor:
    return _blurred(image * mask, sigma) / _blurred(mask, sigma).clamp_min(1e-3)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    return blur(image, sigma, radius=max(round(1.5 * sigma), 1))
