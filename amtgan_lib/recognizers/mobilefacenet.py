"""MobileFaceNet (Chen et al., arXiv 1804.07573) with the parameter names of three published checkpoints.

The three share the layers below and differ in names, activation and head, so that each checkpoint loads strictly. The
last also comes small.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from amtgan_lib.recognizers.staged import StagedNetwork, run, scaled

# Table 1 of the paper: expansion, output channels, number of blocks, stride of the first.
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
# A stage ends where the next block halves the map: 28, 14 and 7 pixels for an input of 112.
STAGE_ENDS = (5, 12, 15)


def bottleneck_sizes() -> Iterator[tuple[int, int, int, int]]:
    """Yield (input, hidden, output channels, stride) of the 15 inverted residual blocks."""
    width = 64
    for expansion, out, repeats, stride in BOTTLENECKS:
        for index in range(repeats):
            yield width, width * expansion, out, stride if index == 0 else 1
            width = out


def convolution(width: int, out: int, kernel: int | tuple[int, int] = 1, stride: int = 1, *, depthwise: bool = False):
    """Return a convolution without bias: padded to keep the size, except a kernel (h,w), which covers the last map."""
    padding = kernel // 2 if isinstance(kernel, int) else 0
    return nn.Conv2d(width, out, kernel, stride, padding, groups=width if depthwise else 1, bias=False)


class Shortcut(nn.Module):
    """An inverted residual block: the input is added back where the shape allows it."""

    def __init__(self, conv: nn.Sequential, added: bool):
        super().__init__()
        self.conv = conv
        self.added = added

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) -> (N,C',h/stride,w/stride)."""
        return x + self.conv(x) if self.added else self.conv(x)


class FoamliuMobileFaceNet(StagedNetwork):
    """The MS1M network of foamliu/MobileFaceNet: ReLU6, 112 x 112, 128 values, not normalised."""

    def __init__(self):
        super().__init__()
        self.conv1 = self._relu6(3, 64, 3, 2)
        self.dw_conv = nn.Sequential(
            OrderedDict(
                depthwise=convolution(64, 64, 3, depthwise=True),
                bn1=nn.BatchNorm2d(64),
                relu1=nn.ReLU(),
                pointwise=convolution(64, 64),
                bn2=nn.BatchNorm2d(64),
                relu2=nn.ReLU(),
            )
        )
        self.features = nn.Sequential(*(self._block(*sizes) for sizes in bottleneck_sizes()))
        self.conv2 = self._relu6(128, 512)
        depthwise = convolution(512, 512, (7, 7), depthwise=True)
        self.gdconv = nn.Sequential(OrderedDict(depthwise=depthwise, bn=nn.BatchNorm2d(512)))
        self.conv3 = nn.Conv2d(512, 128, 1)
        self.bn = nn.BatchNorm2d(128)

    @staticmethod
    def _relu6(width: int, out: int, kernel: int = 1, stride: int = 1, depthwise: bool = False) -> nn.Sequential:
        conv = convolution(width, out, kernel, stride, depthwise=depthwise)
        return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU6())

    def _block(self, width: int, hidden: int, out: int, stride: int) -> Shortcut:
        conv = nn.Sequential(
            self._relu6(width, hidden),
            self._relu6(hidden, hidden, 3, stride, depthwise=True),
            convolution(hidden, out),
            nn.BatchNorm2d(out),
        )
        return Shortcut(conv, added=stride == 1 and width == out)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See StagedNetwork; 4 maps."""
        first = self.dw_conv(self.conv1(images))
        return [first, *run(first, self.features, STAGE_ENDS)]

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """See StagedNetwork."""
        return self.bn(self.conv3(self.gdconv(self.conv2(last)))).flatten(1)


def prelu_unit(width: int, out: int, kernel=1, stride: int = 1, *, depthwise: bool = False, linear: bool = False):
    """Return convolution, batch norm and, unless `linear`, PReLU under the names conv, bn, prelu."""
    layers = OrderedDict(conv=convolution(width, out, kernel, stride, depthwise=depthwise), bn=nn.BatchNorm2d(out))
    if not linear:
        layers["prelu"] = nn.PReLU(out)
    return nn.Sequential(layers)


class XiaoccerMobileFaceNet(StagedNetwork):
    """The CASIA-WebFace network of Xiaoccer/MobileFaceNet_Pytorch: PReLU, 112 x 96, 128 values, not normalised."""

    def __init__(self):
        super().__init__()
        self.conv1 = prelu_unit(3, 64, 3, 2)
        self.dw_conv1 = prelu_unit(64, 64, 3, depthwise=True)
        self.blocks = nn.Sequential(*(self._block(*sizes) for sizes in bottleneck_sizes()))
        self.conv2 = prelu_unit(128, 512)
        self.linear7 = prelu_unit(512, 512, (7, 6), depthwise=True, linear=True)
        self.linear1 = prelu_unit(512, 128, linear=True)

    @staticmethod
    def _block(width: int, hidden: int, out: int, stride: int) -> Shortcut:
        expand, depthwise = prelu_unit(width, hidden), prelu_unit(hidden, hidden, 3, stride, depthwise=True)
        conv = nn.Sequential(*expand, *depthwise, *prelu_unit(hidden, out, linear=True))
        return Shortcut(conv, added=stride == 1 and width == out)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See StagedNetwork; 4 maps."""
        first = self.dw_conv1(self.conv1(images))
        return [first, *run(first, self.blocks, STAGE_ENDS)]

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """See StagedNetwork."""
        return self.linear1(self.linear7(self.conv2(last))).flatten(1)


class _DepthWise(nn.Sequential):
    """An inverted residual block of the network below, under its names conv, conv_dw and project."""

    def __init__(self, width: int, hidden: int, out: int, stride: int, added: bool):
        super().__init__(
            OrderedDict(
                conv=prelu_unit(width, hidden),
                conv_dw=prelu_unit(hidden, hidden, 3, stride, depthwise=True),
                project=prelu_unit(hidden, out, linear=True),
            )
        )
        self.added = added

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x) if self.added else super().forward(x)


def _residual(width: int, hidden: int, repeats: int) -> nn.Sequential:
    blocks = (_DepthWise(width, hidden, width, 1, added=True) for _ in range(repeats))
    return nn.Sequential(OrderedDict(model=nn.Sequential(*blocks)))


class MobileFace(StagedNetwork):
    """The MobileFaceNet of InsightFace_Pytorch, which AMT-GAN calls MobileFace.

    Shape: (N,3,input_size,input_size) -> (N,embedding), unit length. `width` multiplies the channels of every layer
    but the embedding; `depths` are the residual blocks of the three stages. The defaults are the published sizes.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        depths: tuple[int, int, int] = (4, 6, 2),
        embedding: int = 512,
        input_size: int = 112,
    ):
        super().__init__()
        first, later, last = (scaled(channels, width) for channels in (64, 128, 512))
        side = math.ceil(input_size / 16)
        self.conv1 = prelu_unit(3, first, 3, 2)
        self.conv2_dw = prelu_unit(first, first, 3, depthwise=True)
        self.conv_23 = _DepthWise(first, 2 * first, first, 2, added=False)
        self.conv_3 = _residual(first, 2 * first, depths[0])
        self.conv_34 = _DepthWise(first, 4 * first, later, 2, added=False)
        self.conv_4 = _residual(later, 2 * later, depths[1])
        self.conv_45 = _DepthWise(later, 4 * later, later, 2, added=False)
        self.conv_5 = _residual(later, 2 * later, depths[2])
        self.conv_6_sep = prelu_unit(later, last)
        self.conv_6_dw = prelu_unit(last, last, (side, side), depthwise=True, linear=True)
        self.linear = nn.Linear(last, embedding, bias=False)
        self.bn = nn.BatchNorm1d(embedding)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See StagedNetwork; 4 maps."""
        first = self.conv2_dw(self.conv1(images))
        second = self.conv_3(self.conv_23(first))
        third = self.conv_4(self.conv_34(second))
        return [first, second, third, self.conv_5(self.conv_45(third))]

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """See StagedNetwork."""
        pooled = self.conv_6_dw(self.conv_6_sep(last)).flatten(1)
        return F.normalize(self.bn(self.linear(pooled)))
