"""The generator: MDNet distils the makeup of the reference, MANet applies it to the source (PSGAN, CVPR 2020).

AMT-GAN uses PSGAN's generator with makeup matrices of one channel. ``Generator()`` with its default arguments is the
published network, number for number; narrower, residual and hinted variants are ours.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amtgan_lib.models.initialization import initialize
from amtgan_lib.models.makeup import colour_transfer, makeup_transfer
from amtgan_lib.models.morphing import STRIDE, morph
from amtgan_lib.models.normalization import InstanceNorm

LANDMARKS = 68
REGIONS = 3  # lip, skin, eyes
HINT_SCALE = 0.02  # of the hints' first weights: their features are then about as large as those of the picture
MDNET_BLOCKS = 3
MADE_UP_TINT = 0.5  # how much colour a change may have on lips and lids where ``tint`` limits it on the skin
TRANSFERS = {"colours": colour_transfer, "makeup": makeup_transfer}


class ConvBlock(nn.Module):
    """Convolution without bias, instance normalisation, ReLU."""

    def __init__(self, conv: nn.Module, channels: int, *, affine: bool):
        super().__init__()
        self.conv = conv
        self.norm = InstanceNorm(channels, affine=affine)

    def forward(self, features: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C',H',W')."""
        return self.finish(self.conv(features))

    def finish(self, features: Tensor) -> Tensor:
        """What follows the convolution."""
        return self.norm(features).relu_()


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions beside a skip connection; no activation after the sum."""

    def __init__(self, channels: int, *, affine: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = InstanceNorm(channels, affine=affine)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = InstanceNorm(channels, affine=affine)

    def forward(self, features: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,H,W)."""
        inner = self.norm1(self.conv1(features)).relu_()
        return features + self.norm2(self.conv2(inner))


def _stem(channels: int, width: int, *, affine: bool) -> ConvBlock:
    return ConvBlock(nn.Conv2d(channels, width, 7, padding=3, bias=False), width, affine=affine)


def _down(width: int, *, affine: bool) -> ConvBlock:
    conv = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False)
    return ConvBlock(conv, 2 * width, affine=affine)


def _up(width: int) -> ConvBlock:
    conv = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False)
    return ConvBlock(conv, width, affine=False)


class MDNet(nn.Module):
    """Makeup distillation: features of the reference, and its makeup matrices before morphing."""

    def __init__(self, width: int, makeup_channels: int):
        super().__init__()
        self.stem = _stem(3, width, affine=True)
        self.down = nn.Sequential(_down(width, affine=True), _down(2 * width, affine=True))
        self.blocks = nn.Sequential(*(ResidualBlock(4 * width, affine=True) for _ in range(MDNET_BLOCKS)))
        self.gamma = nn.Conv2d(4 * width, makeup_channels, 1, bias=False)
        self.beta = nn.Conv2d(4 * width, makeup_channels, 1, bias=False)

    def forward(self, reference: Tensor) -> tuple[Tensor, Tensor]:
        """(N,3,H,W) -> features (N,4*width,H/4,W/4) and gamma over beta (N,2*makeup_channels,H/4,W/4)."""
        features = self.blocks(self.down(self.stem(reference)))
        return features, torch.cat((self.gamma(features), self.beta(features)), dim=1)


class MANet(nn.Module):
    """Makeup application: an encoder and a decoder of the source, the makeup enters between them."""

    def __init__(self, width: int, bottlenecks: int, hint_channels: int):
        super().__init__()
        before = bottlenecks // 2
        self.stem = _stem(3, width, affine=False)
        self.hints = nn.Conv2d(hint_channels, width, 7, padding=3, bias=False) if hint_channels else None
        self.down = nn.Sequential(_down(width, affine=False), _down(2 * width, affine=False))
        blocks = [ResidualBlock(4 * width, affine=False) for _ in range(bottlenecks)]
        self.before = nn.Sequential(*blocks[:before])
        self.after = nn.Sequential(*blocks[before:])
        self.up = nn.Sequential(_up(2 * width), _up(width))
        self.last = nn.Conv2d(width, 3, 7, padding=3, bias=False)

    def encode(self, source: Tensor, hints: Tensor | None) -> Tensor:
        """(N,3,H,W) -> (N,4*width,H/4,W/4)."""
        features = self.stem.conv(source)
        if hints is not None:
            features = features + self.hints(hints)
        return self.before(self.down(self.stem.finish(features)))

    def decode(self, features: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """(N,4*width,H/4,W/4) -> (N,3,H,W), before any output function."""
        made_up = features * (1 + gamma) + beta
        return self.last(self.up(self.after(made_up)))


class Generator(nn.Module):
    """Makeup transfer from a reference face to a source face.

    Args:
        width: channels of the first convolution; 64 is published.
        bottlenecks: residual blocks of MANet, half of them (rounded down) before the makeup; 6 is published.
        output: "redraw" draws every pixel anew through tanh (published); "residual" adds a bounded change to
            the source in the reference's makeup (``start``), a change that is nearly zero at initialisation.
        bound: largest change of a pixel with output="residual", in units of the [-1,1] range.
        tint: how much colour the change of output="residual" may have outside lips and lids, 0 to 1: at 0 it is grey
            there, light and shade only, at 1 free; on lips and lids it has at least half. An eye forgives shade on
            a skin, not patches of green.
        transfer: what output="residual" starts from: "colours" of lips, skin and eyes as the reference's picture has
            them (``colour_transfer``), or its "makeup" alone, relative to each face's own skin (``makeup_transfer``).
        makeup_channels: channels of each makeup matrix: 1 (published, one number a position) or 4*width.
        hint_channels: channels of the optional hints, 0 for none.
    """

    def __init__(
        self,
        width: int = 64,
        bottlenecks: int = 6,
        *,
        output: Literal["redraw", "residual"] = "redraw",
        bound: float = 0.5,
        tint: float = 1.0,
        transfer: Literal["colours", "makeup"] = "colours",
        makeup_channels: int = 1,
        hint_channels: int = 0,
    ):
        super().__init__()
        if output not in ("redraw", "residual"):
            raise ValueError(f"output is {output!r}; expected 'redraw' or 'residual'")
        if transfer not in TRANSFERS:
            raise ValueError(f"transfer is {transfer!r}; expected 'colours' or 'makeup'")
        if makeup_channels not in (1, 4 * width):
            raise ValueError(f"makeup_channels is {makeup_channels}; expected 1 or 4*width = {4 * width}")
        if not 0 < bound <= 2:
            raise ValueError(f"bound is {bound}; expected a number in (0, 2], in units of the [-1,1] range")
        if not 0 <= tint <= 1:
            raise ValueError(f"tint is {tint}; expected a number from 0 (grey) to 1 (any colour)")
        self.built = {
            "width": width,
            "bottlenecks": bottlenecks,
            "output": output,
            "bound": bound,
            "tint": tint,
            "transfer": transfer,
            "makeup_channels": makeup_channels,
            "hint_channels": hint_channels,
        }
        self.output, self.bound, self.tint, self.transfer = output, bound, tint, transfer
        self.hint_channels = hint_channels
        self.mdnet = MDNet(width, makeup_channels)
        self.manet = MANet(width, bottlenecks, hint_channels)
        initialize(self)

    def quiet_start(self) -> None:
        """Let the residual output begin near zero, so that the face begins as it is; hints enter as the features do."""
        if self.manet.hints is not None:
            nn.init.normal_(self.manet.hints.weight, std=HINT_SCALE)
        if self.output == "residual":
            # Not exactly zero: the layers before it would get no gradient in the first step.
            nn.init.normal_(self.manet.last.weight, std=1e-5)

    def forward(
        self,
        source: Tensor,
        reference: Tensor,
        source_masks: Tensor,
        reference_masks: Tensor,
        source_landmarks: Tensor,
        reference_landmarks: Tensor,
        hints: Tensor | None = None,
        budgets: Sequence[int] | None = None,
    ) -> Tensor:
        """Dress the source in the makeup of the reference.

        Args:
            source: (N,3,H,W) in [-1,1]; H and W divisible by 4.
            reference: (N,3,H,W) in [-1,1].
            source_masks: (N,3,H,W) in {0,1}: lip, skin, eyes.
            reference_masks: (N,3,H,W) likewise.
            source_landmarks: (N,68,2) pixel (y, x), rounded by the published preprocessing.
            reference_landmarks: (N,68,2) likewise.
            hints: (N,hint_channels,H,W), or None for exactly the network without hints.
            budgets: sizes of the reference's regions, so that nothing is read back from a device, see ``morph``.

        Returns:
            (N,3,H,W) in [-1,1].

        Raises:
            ValueError: a shape is not the one above.
        """
        sides = (source_masks, reference_masks, source_landmarks, reference_landmarks, budgets)
        self._check_pair(source, reference, *sides[:4])
        self._check_hints(source, hints)
        features = self.manet.encode(source, hints)
        gamma, beta = self._morph(features, reference, *sides)
        start = self.start(source, reference, *sides) if self.output == "residual" else source
        return self._finish(start, self.manet.decode(features, gamma, beta), source_masks)

    def start(self, source: Tensor, reference: Tensor, *sides: Tensor) -> Tensor:
        """What the residual output adds its change to: the source in the reference's makeup, (N,3,H,W) in [-1,1].

        Closed-form (see ``transfer``), without weights; arguments, without the hints, as in ``forward``.
        """
        with torch.autocast(source.device.type, enabled=False):
            return (source + TRANSFERS[self.transfer](source, reference, *sides)).clamp(-1, 1)

    def makeup_matrices(
        self,
        source: Tensor,
        reference: Tensor,
        source_masks: Tensor,
        reference_masks: Tensor,
        source_landmarks: Tensor,
        reference_landmarks: Tensor,
        hints: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Makeup of the reference, morphed onto the source; arguments and errors as in ``forward``.

        Returns:
            gamma and beta, each (N,makeup_channels,H/4,W/4).
        """
        sides = (source_masks, reference_masks, source_landmarks, reference_landmarks)
        self._check_pair(source, reference, *sides)
        self._check_hints(source, hints)
        return self._morph(self.manet.encode(source, hints), reference, *sides)

    def _morph(self, features: Tensor, reference: Tensor, *sides: Tensor) -> tuple[Tensor, Tensor]:
        reference_features, makeup = self.mdnet(reference)
        return morph(features, reference_features, makeup, *sides).chunk(2, dim=1)

    def _finish(self, start: Tensor, drawn: Tensor, masks: Tensor) -> Tensor:
        # At least float32: bfloat16 cannot tell neighbouring 8-bit levels apart near 1.
        drawn = drawn.to(torch.promote_types(start.dtype, torch.float32)).tanh()
        if self.output == "redraw":
            return drawn
        if self.tint < 1:
            grey = drawn.mean(1, keepdim=True)
            drawn = grey + self._colourful(masks) * (drawn - grey)
        return (start + self.bound * drawn).clamp(-1, 1)

    def _colourful(self, masks: Tensor) -> Tensor:
        """How much colour each pixel's change may have, (N,1,H,W): more on lips and lids, with soft edges."""
        made_up = F.avg_pool2d((masks[:, :1] + masks[:, 2:]).clamp(max=1), 5, stride=1, padding=2)
        return self.tint + max(MADE_UP_TINT - self.tint, 0) * made_up

    def _check_hints(self, source: Tensor, hints: Tensor | None) -> None:
        if hints is None:
            return
        if self.hint_channels == 0:
            raise ValueError("hints were given to a generator built with hint_channels=0")
        _check_shape("hints", hints, (source.shape[0], self.hint_channels, *source.shape[2:]))

    @staticmethod
    def _check_pair(source: Tensor, reference: Tensor, *sides: Tensor) -> None:
        _check_image("source", source)
        _check_shape("reference", reference, source.shape)
        names = ("source_masks", "reference_masks", "source_landmarks", "reference_landmarks")
        masks = (source.shape[0], REGIONS, *source.shape[2:])
        landmarks = (source.shape[0], LANDMARKS, 2)
        for name, side, shape in zip(names, sides, (masks, masks, landmarks, landmarks), strict=True):
            _check_shape(name, side, shape)


def _check_image(name: str, image: Tensor) -> None:
    if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % STRIDE or image.shape[3] % STRIDE:
        raise ValueError(f"{name} has shape {tuple(image.shape)}; expected (N,3,H,W), H and W divisible by {STRIDE}")


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != tuple(expected):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {tuple(expected)}")
