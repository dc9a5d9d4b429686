"""What recogniser networks here have in common: stages of feature maps, then a head, and a width multiplier."""

from collections.abc import Container, Iterable

import torch
from torch import nn


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width`, to the nearest multiple of 8 that is not 0."""
    return max(8, 8 * int(channels * width / 8 + 0.5))


def run(x: torch.Tensor, blocks: Iterable[nn.Module], ends: Container[int] | None = None) -> list[torch.Tensor]:
    """Return the maps of `x` after the blocks with the numbers `ends`, from 1 on; after every block for None."""
    maps = []
    for number, block in enumerate(blocks, start=1):
        x = block(x)
        if ends is None or number in ends:
            maps.append(x)
    return maps


class StagedNetwork(nn.Module):
    """A face network that can be stopped after each stage.

    Subclasses give `maps` (the stages) and `head` (last map -> embedding); both keep the published parameter names.
    """

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the output of each stage for preprocessed `images` (N,3,h,w), coarser and coarser."""
        raise NotImplementedError

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (N,D), as published, for the last map of `maps`."""
        raise NotImplementedError

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (N,D), as published (normalised or not), for preprocessed `images` (N,3,h,w)."""
        return self.head(self.maps(images)[-1])
