"""Inception-ResNet-v1 (Szegedy et al., arXiv 1602.07261) as FaceNet uses it, published parameter names; also small."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from amtgan_lib.recognizers.staged import StagedNetwork, scaled

Size = int | tuple[int, int]
Widths = Callable[[int], int]


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


# The blocks below take the channels of their input, and `w`: the published channels of a branch -> those to use.


def block35(width: int, w: Widths) -> ResidualBranches:
    """Return Inception-ResNet-A."""
    n = w(32)
    same = partial(unit, kernel=3, padding=1)
    deep = nn.Sequential(unit(width, n), same(n, n), same(n, n))
    return ResidualBranches(width, 3 * n, 0.17, unit(width, n), nn.Sequential(unit(width, n), same(n, n)), deep)


def block17(width: int, w: Widths) -> ResidualBranches:
    """Return Inception-ResNet-B."""
    n = w(128)
    cross = nn.Sequential(unit(width, n), unit(n, n, (1, 7), 1, (0, 3)), unit(n, n, (7, 1), 1, (3, 0)))
    return ResidualBranches(width, 2 * n, 0.10, unit(width, n), cross)


def block8(width: int, w: Widths, scale: float = 0.20, relu: bool = True) -> ResidualBranches:
    """Return Inception-ResNet-C."""
    n = w(192)
    cross = nn.Sequential(unit(width, n), unit(n, n, (1, 3), 1, (0, 1)), unit(n, n, (3, 1), 1, (1, 0)))
    return ResidualBranches(width, 2 * n, scale, unit(width, n), cross, relu=relu)


def reduction_a(width: int, w: Widths) -> tuple[Branches, int]:
    """Return the block (published: from 256 to 896 channels) that halves the map, and the channels after it."""
    wide, end, middle = w(384), w(256), w(192)
    deep = nn.Sequential(unit(width, middle), unit(middle, middle, 3, 1, 1), unit(middle, end, 3, 2))
    return Branches(unit(width, wide, 3, 2), deep, nn.MaxPool2d(3, 2)), wide + end + width


def reduction_b(width: int, w: Widths) -> tuple[Branches, int]:
    """Return the block (published: from 896 to 1792 channels) that halves the map, and the channels after it."""
    wide, n = w(384), w(256)
    branches = Branches(
        nn.Sequential(unit(width, n), unit(n, wide, 3, 2)),
        nn.Sequential(unit(width, n), unit(n, n, 3, 2)),
        nn.Sequential(unit(width, n), unit(n, n, 3, 1, 1), unit(n, n, 3, 2)),
        nn.MaxPool2d(3, 2),
    )
    return branches, wide + 2 * n + width


class InceptionResnetV1(StagedNetwork):
    """FaceNet's network without its classifier.

    Shape: (N,3,h,w) -> (N,embedding), unit length; h and w of 75 or more, 160 as published. `width` multiplies the
    channels of every layer but the embedding; `repeats` are the numbers of blocks A, B and C. The defaults are the
    published sizes.
    """

    def __init__(self, *, width: float = 1.0, repeats: tuple[int, int, int] = (5, 10, 5), embedding: int = 512):
        super().__init__()
        w = partial(scaled, width=width)
        self._stem(w)
        trunk = w(256)
        self.repeat_1 = nn.Sequential(*(block35(trunk, w) for _ in range(repeats[0])))
        self.mixed_6a, trunk = reduction_a(trunk, w)
        self.repeat_2 = nn.Sequential(*(block17(trunk, w) for _ in range(repeats[1])))
        self.mixed_7a, trunk = reduction_b(trunk, w)
        self.repeat_3 = nn.Sequential(*(block8(trunk, w) for _ in range(repeats[2])))
        self.block8 = block8(trunk, w, scale=1.0, relu=False)
        self.last_linear = nn.Linear(trunk, embedding, bias=False)
        self.last_bn = nn.BatchNorm1d(embedding, eps=0.001)

    def _stem(self, w: Widths) -> None:
        self.conv2d_1a = unit(3, w(32), 3, 2)
        self.conv2d_2a = unit(w(32), w(32), 3)
        self.conv2d_2b = unit(w(32), w(64), 3, 1, 1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = unit(w(64), w(80))
        self.conv2d_4a = unit(w(80), w(192), 3)
        self.conv2d_4b = unit(w(192), w(256), 3, 2)

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See StagedNetwork; 4 maps."""
        early = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(images)))
        stem = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(early))))
        second = self.repeat_1(stem)
        third = self.repeat_2(self.mixed_6a(second))
        return [early, second, third, self.block8(self.repeat_3(self.mixed_7a(third)))]

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """See StagedNetwork. The published dropout before the last layer is left out: in eval mode it has no part."""
        pooled = F.adaptive_avg_pool2d(last, 1).flatten(1)
        return F.normalize(self.last_bn(self.last_linear(pooled)))
