"""IR-152 and IR-SE-50: the residual networks of the ArcFace paper (arXiv 1801.07698), published parameter names."""

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import nn

from amtgan_lib.recognizers.staged import StagedNetwork

STAGE_WIDTHS = (64, 128, 256, 512)
EMBEDDING = 512


class SqueezeExcite(nn.Module):
    """Channel attention (arXiv 1709.01507) with a reduction of 16 and no biases."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(width // 16, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) -> (N,C,h,w)."""
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class ImprovedResidual(nn.Module):
    """BN, conv 3x3, PReLU, conv 3x3 with the stride, BN and maybe SE, added to a shortcut."""

    def __init__(self, width: int, out: int, stride: int, squeeze: bool):
        super().__init__()
        if width == out:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, out, 3, 1, 1, bias=False),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            *([SqueezeExcite(out)] if squeeze else []),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,h,w) -> (N,C',h/stride,w/stride)."""
        return self.res_layer(x) + self.shortcut_layer(x)


class IResNet(StagedNetwork):
    """Four stages of `blocks` residual blocks, 112 x 112, 512 values; `unit` says whether they are normalised."""

    def __init__(self, blocks: tuple[int, int, int, int], squeeze: bool, unit: bool):
        super().__init__()
        self.stage_ends = tuple(accumulate(blocks))
        self.unit = unit
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        body, width = [], 64
        for out, repeats in zip(STAGE_WIDTHS, blocks, strict=True):
            for index in range(repeats):
                body.append(ImprovedResidual(width, out, 2 if index == 0 else 1, squeeze))
                width = out
        self.body = nn.Sequential(*body)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, EMBEDDING),
            nn.BatchNorm1d(EMBEDDING),
        )

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See StagedNetwork; 4 maps."""
        x, found = self.input_layer(images), []
        for number, block in enumerate(self.body, start=1):
            x = block(x)
            if number in self.stage_ends:
                found.append(x)
        return found

    def head(self, last: torch.Tensor) -> torch.Tensor:
        """See StagedNetwork."""
        embedding = self.output_layer(last)
        return F.normalize(embedding) if self.unit else embedding


def ir152() -> IResNet:
    """Return IR-152 without weights; its embeddings are not normalised."""
    return IResNet((3, 8, 36, 3), squeeze=False, unit=False)


def irse50() -> IResNet:
    """Return IR-SE-50 without weights."""
    return IResNet((3, 4, 14, 3), squeeze=True, unit=True)
