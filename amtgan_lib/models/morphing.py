"""Attentive makeup morphing (PSGAN, CVPR 2020, section 3.3), computed on the masked positions alone.

The published code multiplies every source position with every reference position (4096 x 4096 at 256 px), takes the
softmax of each row, and then drops the entries whose product was exactly zero. Those are the positions outside the
masks, whose vectors are all zero. Their share of the softmax is known beforehand: together they are one extra entry
with logit log(their number) and no value. What remains is a small dense product for each region.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

STRIDE = 4  # pixels between two feature positions: two stride-2 convolutions
FEATURE_SCALE = 0.01  # weight of the visual features beside the relative positions
SHARPNESS = 200.0  # factor on the products before the softmax


def relative_positions(landmarks: Tensor, places: Tensor, columns: int) -> Tensor:
    """Where positions lie relative to the landmarks: pixel minus landmark, divided by its L2 norm.

    Float32 resolves the products of such vectors, times 200, only to about 1e-4. To match the published numbers, the
    published channels are computed as they are, although a closed form with 3 channels would be nearer to the truth.

    Args:
        landmarks: (N,K,2) pixel (y, x).
        places: (N,P) positions of the feature map, row by row; position (i, j) is pixel (4i, 4j).
        columns: width of the feature map.

    Returns:
        (N,2K,P) unit vectors: K y-channels, then K x-channels.
    """
    rows = STRIDE * (places // columns).unsqueeze(1) - landmarks[:, :, :1]
    offsets = torch.cat((rows, STRIDE * (places % columns).unsqueeze(1) - landmarks[:, :, 1:]), dim=1)
    norm = torch.linalg.vector_norm(offsets, dim=1, keepdim=True)
    return offsets / norm.clamp_min(1e-6)  # 0 only where every landmark lies on this very pixel


def region_counts(masks: Tensor) -> Tensor:
    """How many positions of the feature map lie in each region: masks (N,R,4h,4w) -> (N,R)."""
    return _members(masks).sum(dim=2)


def _members(masks: Tensor) -> Tensor:
    return (masks[:, :, ::STRIDE, ::STRIDE] > 0.5).flatten(2)


def morph(
    source_features: Tensor,
    reference_features: Tensor,
    makeup: Tensor,
    source_masks: Tensor,
    reference_masks: Tensor,
    source_landmarks: Tensor,
    reference_landmarks: Tensor,
    budgets: Sequence[int] | None = None,
) -> Tensor:
    """Carry the reference's makeup values to the positions of the source face, region by region.

    Membership of the mask decides which entries carry value. The published criterion, a product that is exactly
    zero, differs only for zero vectors or by an accident of rounding. A region that is empty on either side (closed
    mouth, hidden eye) contributes 0. The result is in float32 even under autocast: logits reach 200 and more, where
    bfloat16 has steps of 1. Gradients pass through the values and through the attention weights.

    Args:
        source_features: (N,C,h,w).
        reference_features: (N,C,h,w).
        makeup: (N,V,h,w) values at the reference positions.
        source_masks: (N,R,4h,4w) in {0,1}, any dtype; sampled at every fourth pixel.
        reference_masks: (N,R,4h,4w) likewise.
        source_landmarks: (N,68,2) pixel (y, x).
        reference_landmarks: (N,68,2) pixel (y, x).
        budgets: per region a number that no reference of the batch has more positions than (``region_counts``). None
            reads the numbers back, which waits for the device; given, nothing is waited for, and every position of
            the source asks, with the same result.

    Returns:
        (N,V,h,w), the sum over the R regions; 0 outside the source masks.

    Raises:
        ValueError: on a CPU, a reference has more positions than the budget (on a device nobody looks).
    """
    size = source_features.shape[2:]
    dtype = torch.promote_types(source_features.dtype, torch.float32)
    with torch.autocast(source_features.device.type, enabled=False):
        source = _Face(source_features.to(dtype), source_masks, source_landmarks.to(dtype))
        reference = _Face(reference_features.to(dtype), reference_masks, reference_landmarks.to(dtype))
        values = makeup.to(dtype).flatten(2)
        total = torch.zeros_like(values)
        for region, (rows, columns) in enumerate(_padding(source, reference, budgets)):
            query, query_mask, places = source.pick(region, rows)
            key, key_mask, key_places = reference.pick(region, columns)
            morphed = _attend(query, key, _gather(values, key_places), key_mask, total.shape[2])
            morphed = morphed * query_mask.unsqueeze(1)
            total = total.scatter_add(2, places.unsqueeze(1).expand_as(morphed), morphed)
    return total.unflatten(2, size)


class _Face:
    """One side of the morphing: its features, and the positions of its regions."""

    def __init__(self, features: Tensor, masks: Tensor, landmarks: Tensor):
        self.features, self.landmarks, self.columns = FEATURE_SCALE * features.flatten(2), landmarks, features.shape[3]
        members = _members(masks)
        self.counts = members.sum(dim=2)
        # Members of each region first, in row order: (N,R,h*w).
        self.order = members.to(torch.uint8).argsort(dim=2, descending=True, stable=True)

    def pick(self, region: int, budget: int) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors (N,C+136,budget) of a region, which of them are members (N,budget), and their places (N,budget)."""
        places = self.order[:, region, :budget]
        member = torch.arange(budget, device=places.device) < self.counts[:, region, None]
        offsets = relative_positions(self.landmarks, places, self.columns)
        return torch.cat((_gather(self.features, places), offsets), dim=1), member, places


def _padding(source: _Face, reference: _Face, budgets: Sequence[int] | None) -> list[tuple[int, int]]:
    """Per region how many positions of the source ask, and how many of the reference answer."""
    if budgets is None:
        return torch.stack((source.counts, reference.counts)).amax(dim=1).T.tolist()
    if reference.counts.device.type == "cpu" and not torch.compiler.is_compiling():
        largest = reference.counts.amax(dim=0).tolist()
        if len(budgets) != len(largest) or any(count > budget for count, budget in zip(largest, budgets)):
            raise ValueError(f"budgets are {list(budgets)}, but the regions have up to {largest} positions")
    positions = source.order.shape[2]
    return [(positions, min(budget, positions)) for budget in budgets]


def _gather(maps: Tensor, places: Tensor) -> Tensor:
    """(N,C,h*w) at the places (N,P) -> (N,C,P)."""
    return maps.gather(2, places.unsqueeze(1).expand(-1, maps.shape[1], -1))


def _attend(query: Tensor, key: Tensor, values: Tensor, key_mask: Tensor, positions: int) -> Tensor:
    """Softmax attention over the members and one more entry, value 0, for all the positions outside the region.

    query (N,D,P), key (N,D,Q), values (N,V,Q), key_mask (N,Q) -> (N,V,P).
    """
    outside = (positions - key_mask.sum(dim=1, keepdim=True)).to(query.dtype).log()
    bias = torch.zeros_like(key_mask, dtype=query.dtype).masked_fill(~key_mask, -torch.inf)
    bias = torch.cat((bias, outside), dim=1).unsqueeze(1)
    values = F.pad(values, (0, 1))
    weights = (F.pad(torch.bmm(query.transpose(1, 2), key) * SHARPNESS, (0, 1)) + bias).softmax(dim=2)
    return values @ weights.transpose(1, 2)
