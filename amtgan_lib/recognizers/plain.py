"""A plain convolutional network in the manner of VGG (arXiv 1409.1556): no shortcuts, no branches."""

import torch
from torch import nn

from amtgan_lib.recognizers.staged import StagedNetwork

WIDTHS = (32, 64, 128, 192)
REPEATS = (1, 2, 2, 2)  # convolutions of a stage; the first of each halves the map


class PlainNetwork(StagedNetwork):
    """Four stages of 3 x 3 convolutions. Shape: (N,3,h,w) -> (N,embedding), not normalised; h and w of 16 or more."""

    def __init__(self, embedding: int = 256, side: int = 96):
        super().__init__()
        self.stages, width = nn.ModuleList(), 3
        for out, repeats in zip(WIDTHS, REPEATS, strict=True):
            self.stages.append(nn.Sequential(*(_unit(width if i == 0 else out, out, i == 0) for i in range(repeats))))
            width = out
        pooled = width * (side // 2 ** len(WIDTHS) // 2) ** 2
        self.output = nn.Sequential(
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(pooled, embedding, bias=False), nn.BatchNorm1d(embedding)
        )

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See StagedNetwork; 4 maps."""
        found = []
        for stage in self.stages:
            images = stage(images)
            found.append(images)
        return found

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """See StagedNetwork."""
        return self.output(last)


def _unit(width: int, out: int, halving: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, out, 3, 2 if halving else 1, 1, bias=False), nn.BatchNorm2d(out), nn.PReLU(out)
    )


def distilled_plain() -> PlainNetwork:
    """Return a network of the distilled recognisers without weights: 96 x 96, 256 values."""
    return PlainNetwork()
