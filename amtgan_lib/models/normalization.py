"""Instance normalisation that keeps channels last, and is right there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL = 1024  # positions of a feature map, below which torch normalises channels last another, slow way


class InstanceNorm(nn.GroupNorm):
    """Instance normalisation, as group normalisation with a group for each channel.

    ``nn.InstanceNorm2d`` makes a channels-last picture contiguous, so that the next convolution turns it round again
    (pytorch/pytorch#72341). Worse, its gradient is wrong without a word where the batch is one picture and the gradient
    that comes in is channels last (torch 2.11, CPU; measured: off by as much as the gradient itself).
    """

    def __init__(self, channels: int, *, affine: bool):
        super().__init__(channels, channels, affine=affine)

    def forward(self, features: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H,W) of the same type."""
        # In channels last the backward pass of group normalisation takes 17 times as long, and the forward pass of
        # small maps up to 80 times (same torch, CPU).
        differentiated = torch.is_grad_enabled() and features.requires_grad
        small = not differentiated and features.shape[-2:].numel() < SMALL
        back = small and features.is_contiguous(memory_format=torch.channels_last)
        if differentiated or small:
            features = features.contiguous()
        weight, bias = (None if value is None else value.to(features.dtype) for value in (self.weight, self.bias))
        # Its sums are in float32 whatever the type: autocast, which would copy everything to float32, is not needed.
        with torch.autocast(features.device.type, enabled=False):
            normed = F.group_norm(features, self.num_groups, weight, bias, self.eps)
        return normed.contiguous(memory_format=torch.channels_last) if back else normed
