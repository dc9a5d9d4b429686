"""Gradient hints: what tells one generator whom a face is to be taken for, and whom no longer.

A generator that is conditioned on the target's embedding has to learn how recognisers see; one that is handed the
gradients of the recognisers' similarities at the clean face only has to learn what to make of them. Recognisers can
then be added, left out and weighted at use time, and the target can be anybody, or nobody.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from amtgan_lib.losses import mirrored


class Recognizer(Protocol):
    """What hints ask of a recogniser: differentiable embeddings, as ``recognizers.Recognizer`` gives them."""

    def embed(self, images: Tensor, points: Tensor | None = None) -> Tensor:
        """Unit vectors (N,D) of faces (N,3,H,W) in [-1,1]."""


HINT_CHANNELS = 6
# A gradient, divided by its mean magnitude and multiplied by this, goes through tanh: nearly its sign.
GAIN = 3.0
# Mean magnitudes of gradients are some 1e-3; a face that is the target already has one of some 1e-9.
NOISE_FLOOR = 1e-7


def gradient_hints(
    images: Tensor,
    points: Tensor | None,
    recognizers: Sequence[Recognizer],
    targets: Sequence[Tensor],
    own: Sequence[Tensor] | None = None,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Hints (N,6,H,W) in [-1,1], detached: three channels towards the target, three away from the face's owner.

    Args:
        images: (N,3,H,W) in [-1,1], the faces as they are now.
        points: (N,5,2) as for ``Recognizer.embed``; None shows the recognisers the whole picture.
        recognizers: the ensemble, of any size from one on; their hints are pooled.
        targets: per recogniser the target's embedding, (D,) or (N,D).
        own: per recogniser the embedding (N,D) that is to be left behind. None: that of each face's mirror image, since
            the similarity of a face to itself has no gradient. Give those of the clean face on a second pass.
        weights: what each recogniser counts in the pool (0: it is not asked); None: all the same.

    Raises ValueError unless there are as many targets (and weights, of which one is above 0) as recognisers.
    """
    weights = [1.0] * len(recognizers) if weights is None else list(weights)
    anchors = len(recognizers) if own is None else len(own)
    if not recognizers or not len(targets) == len(weights) == anchors == len(recognizers):
        counts = f"{len(recognizers)} recognisers, {len(targets)} targets, {len(weights)} weights, {anchors} own"
        raise ValueError(f"a target, a weight and an own embedding for each recogniser expected, got {counts}")
    if min(weights) < 0 or not sum(weights) > 0:
        raise ValueError(f"weights are {weights}; expected none below 0 and one above")
    pooled = images.new_zeros(2, *images.shape)
    for position, (recognizer, weight) in enumerate(zip(recognizers, weights)):
        if not weight:
            continue
        left = mirror_embedding(images, points, recognizer) if own is None else own[position]
        towards, away = similarity_gradients(images, points, recognizer, (targets[position], left))
        pooled += weight * torch.stack((_scaled(towards), _scaled(-away)))
    return torch.cat([torch.tanh(GAIN * _scaled(part)) for part in pooled], dim=1)


@torch.no_grad()
def mirror_embedding(images: Tensor, points: Tensor | None, recognizer: Recognizer) -> Tensor:
    """Embeddings (N,D) of the mirrored faces."""
    return recognizer.embed(*mirrored(images, points))


def similarity_gradients(
    images: Tensor, points: Tensor | None, recognizer: Recognizer, anchors: Sequence[Tensor]
) -> list[Tensor]:
    """Per anchor, (D,) or (N,D), the gradient (N,3,H,W) of the faces' cosine to it."""
    with torch.enable_grad():
        seen = images.detach().requires_grad_()
        embedding = recognizer.embed(seen, points)
        # The faces of a batch do not meet inside a recogniser, so the gradient of the sum is each face's own.
        sums = [(embedding * anchor).sum() for anchor in anchors]
        return [torch.autograd.grad(total, seen, retain_graph=True)[0].detach() for total in sums]


def _scaled(gradient: Tensor) -> Tensor:
    """Each face's gradient at a mean magnitude of 1; what is but rounding error stays near zero."""
    magnitude = gradient.abs().mean(dim=(-3, -2, -1), keepdim=True)
    return gradient / magnitude.clamp_min(NOISE_FLOOR)
