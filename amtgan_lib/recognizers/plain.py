"""Plain convolutional networks for students: one in the manner of VGG (arXiv 1409.1556), one of ResNet (1512.03385)."""

import torch
import torch.nn.functional as F
from torch import nn

from amtgan_lib.recognizers.staged import StagedNetwork, run

WIDTHS = (32, 64, 128, 192)  # channels of the stages, each of which halves the map
REPEATS = (1, 2, 2, 2)  # convolutions, or blocks of two, of a stage


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, (N,width,h,w) -> (N,out,h/stride,w/stride)."""

    def __init__(self, width: int, out: int, stride: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            _unit(width, out, stride), nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        )
        same = stride == 1 and width == out
        pooled = (nn.AvgPool2d(stride), nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out))
        self.shortcut = nn.Identity() if same else nn.Sequential(*pooled)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return F.relu(self.convolutions(features) + self.shortcut(features))


class PlainNetwork(StagedNetwork):
    """Four stages of 3 x 3 convolutions, with shortcuts if ``residual``, which then begin after a first convolution.

    Shape: (N,3,96,96) -> (N,256), not normalised.
    """

    def __init__(self, *, residual: bool = False):
        super().__init__()
        self.stages, width = nn.ModuleList(), 3
        for number, (out, repeats) in enumerate(zip(WIDTHS, REPEATS, strict=True)):
            block = BasicBlock if residual and number else _unit
            sizes = [(width if index == 0 else out, out, 2 if index == 0 else 1) for index in range(repeats)]
            self.stages.append(nn.Sequential(*(block(*channels) for channels in sizes)))
            width = out
        pooled = width * 3**2  # 96 pixels, halved by each stage and once more
        linear = nn.Linear(pooled, 256, bias=False)
        self.output = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), linear, nn.BatchNorm1d(256))

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See StagedNetwork; 4 maps."""
        return run(images, self.stages)

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """See StagedNetwork."""
        return self.output(last)


def _unit(width: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.PReLU(out))
