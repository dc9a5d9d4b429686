"""Inception-ResNet-v1 (Szegedy et al., arXiv 1602.07261) as FaceNet uses it, published parameter names."""

from collections import OrderedDict
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from amtgan_lib.recognizers.staged import StagedNetwork

EMBEDDING = 512
Size = int | tuple[int, int]


def unit(width: int, out: int, kernel: Size = 1, stride: int = 1, padding: Size = 0) -> nn.Sequential:
    """Return convolution, batch norm (TensorFlow's epsilon) and ReLU under the names conv, bn, relu."""
    conv = nn.Conv2d(width, out, kernel, stride, padding, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out, eps=0.001), relu=nn.ReLU()))


class Branches(nn.Module):
    """Branches branch0, branch1, ... of one input, their outputs concatenated."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.names = tuple(f"branch{index}" for index in range(len(branches)))
        for name, branch in zip(self.names, branches, strict=True):
            self.add_module(name, branch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) -> (N, sum of the branches' channels, h', w')."""
        return torch.cat([getattr(self, name)(x) for name in self.names], 1)


class ResidualBranches(Branches):
    """Branches, a 1x1 convolution back to `width` channels, times `scale`, added to the input."""

    def __init__(self, width: int, joined: int, scale: float, *branches: nn.Module, relu: bool = True):
        super().__init__(*branches)
        self.conv2d = nn.Conv2d(joined, width, 1)
        self.scale = scale
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,width,h,w) -> (N,width,h,w)."""
        total = x + self.scale * self.conv2d(super().forward(x))
        return F.relu(total) if self.relu else total


def block35() -> ResidualBranches:
    """Return Inception-ResNet-A."""
    same = partial(unit, kernel=3, padding=1)
    deep = nn.Sequential(unit(256, 32), same(32, 32), same(32, 32))
    return ResidualBranches(256, 96, 0.17, unit(256, 32), nn.Sequential(unit(256, 32), same(32, 32)), deep)


def block17() -> ResidualBranches:
    """Return Inception-ResNet-B."""
    cross = nn.Sequential(unit(896, 128), unit(128, 128, (1, 7), 1, (0, 3)), unit(128, 128, (7, 1), 1, (3, 0)))
    return ResidualBranches(896, 256, 0.10, unit(896, 128), cross)


def block8(scale: float = 0.20, relu: bool = True) -> ResidualBranches:
    """Return Inception-ResNet-C."""
    cross = nn.Sequential(unit(1792, 192), unit(192, 192, (1, 3), 1, (0, 1)), unit(192, 192, (3, 1), 1, (1, 0)))
    return ResidualBranches(1792, 384, scale, unit(1792, 192), cross, relu=relu)


def reduction_a() -> Branches:
    """Return the block from 256 to 896 channels that halves the map."""
    deep = nn.Sequential(unit(256, 192), unit(192, 192, 3, 1, 1), unit(192, 256, 3, 2))
    return Branches(unit(256, 384, 3, 2), deep, nn.MaxPool2d(3, 2))


def reduction_b() -> Branches:
    """Return the block from 896 to 1792 channels that halves the map."""
    return Branches(
        nn.Sequential(unit(896, 256), unit(256, 384, 3, 2)),
        nn.Sequential(unit(896, 256), unit(256, 256, 3, 2)),
        nn.Sequential(unit(896, 256), unit(256, 256, 3, 1, 1), unit(256, 256, 3, 2)),
        nn.MaxPool2d(3, 2),
    )


class InceptionResnetV1(StagedNetwork):
    """FaceNet's network without its classifier: 160 x 160, 512 values, unit length."""

    def __init__(self):
        super().__init__()
        self.conv2d_1a = unit(3, 32, 3, 2)
        self.conv2d_2a = unit(32, 32, 3)
        self.conv2d_2b = unit(32, 64, 3, 1, 1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = unit(64, 80)
        self.conv2d_4a = unit(80, 192, 3)
        self.conv2d_4b = unit(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(block35() for _ in range(5)))
        self.mixed_6a = reduction_a()
        self.repeat_2 = nn.Sequential(*(block17() for _ in range(10)))
        self.mixed_7a = reduction_b()
        self.repeat_3 = nn.Sequential(*(block8() for _ in range(5)))
        self.block8 = block8(scale=1.0, relu=False)
        self.last_linear = nn.Linear(1792, EMBEDDING, bias=False)
        self.last_bn = nn.BatchNorm1d(EMBEDDING, eps=0.001)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See StagedNetwork; 4 maps."""
        early = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(images)))
        stem = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(early))))
        second = self.repeat_1(stem)
        third = self.repeat_2(self.mixed_6a(second))
        return [early, second, third, self.block8(self.repeat_3(self.mixed_7a(third)))]

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """See StagedNetwork. The dropout before the last layer has no part in eval mode, the only mode used here."""
        pooled = F.adaptive_avg_pool2d(last, 1).flatten(1)
        return F.normalize(self.last_bn(self.last_linear(pooled)))
