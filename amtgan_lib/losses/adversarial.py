"""Impersonation and dodging through random views of the image."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Embed = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class InputDiversity:
    """T of the paper: random noise, then a random shrink, zero-padded back at a random place.

    Every call draws once for its whole batch (the published batch is 1). Defaults are those of the released code: noise
    u * sqrt(0.1) * N(0,1) with u ~ U[0,1), and a size of [230,256) of 256 pixels. The other three are ours, off by
    default, and only for aligned faces: what differs between two detectors, two cameras and two mirrors.
    """

    noise_probability: float = 0.5
    noise_scale: float = math.sqrt(0.1)
    resize_probability: float = 0.5
    low: float = 0.9
    flip_probability: float = 0.0
    exposure: float = 0.0  # contrast and brightness each move by up to half of this, in [-1,1] units
    jitter: float = 0.0  # standard deviation of the five points, as a share of the image's side
    # (rank, size): the batch at hand is that part of a larger one, whose noise is drawn and of which its own is kept.
    part: tuple[int, int] = (0, 1)

    def __post_init__(self):
        if not 0 < self.low < 1:
            raise ValueError(f"low is the smallest relative size, expected in (0,1), got {self.low}")

    def __call__(
        self, images: Tensor, points: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Images (N,3,H,W) and points (N,P,2) as pixel (y, x), or None -> the same, points moved with the pixels.

        Points are moved where they lie, best on the CPU. A CPU generator decides without waiting for a device; the
        pixels' noise is then drawn on the images' own device. From the first noise on, the views on a GPU are therefore
        others than those on a CPU for the same seed. A part of a batch needs a generator, the same in all processes.
        """
        if _uniform(generator) < self.noise_probability:
            images = images + _uniform(generator) * self.noise_scale * self._normal_like(images, generator)
        if _uniform(generator) < self.resize_probability:
            images, points = self._shrink(images, points, generator)
        if self.exposure:
            gain, shift = (self.exposure * (_uniform(generator) - 0.5) for _ in range(2))
            images = images * (1 + gain) + shift
        if self.flip_probability and _uniform(generator) < self.flip_probability:
            images, points = mirrored(images, points)
        if self.jitter and points is not None:
            points = points + self.jitter * images.shape[-1] * self._normal_like(points, generator)
        return images, points

    def _shrink(
        self, images: Tensor, points: Tensor | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor | None]:
        height, width = images.shape[-2:]
        new_height = _integer(int(self.low * height), height, generator)
        new_width = width * new_height // height
        top, left = _integer(0, height - new_height, generator), _integer(0, width - new_width, generator)
        small = F.interpolate(images, size=(new_height, new_width), mode="bilinear", align_corners=False)
        padded = F.pad(small, (left, width - new_width - left, top, height - new_height - top))
        if points is None:
            return padded, None
        # Pixel centres are integers: the image's corner, not its first pixel, is the fixed point of the resize.
        y = (points[..., 0] + 0.5) * (new_height / height) - 0.5 + top
        x = (points[..., 1] + 0.5) * (new_width / width) - 0.5 + left
        return padded, torch.stack([y, x], dim=-1)

    def _normal_like(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        rank, size = self.part
        if generator is None and size == 1:
            return torch.randn_like(rows)
        if generator is None:
            raise ValueError(f"part is {self.part}; the noise of a part of a batch needs a generator")
        if rows.is_cuda and generator.device.type == "cpu":
            # A CPU draws some 100 million numbers a second, and a batch of views has that many: the GPU would wait.
            generator = torch.Generator(rows.device).manual_seed(_integer(0, 2**62, generator))
        shape = (size * len(rows), *rows.shape[1:])
        noise = torch.randn(shape, generator=generator, device=generator.device)
        return noise[rank * len(rows) : (rank + 1) * len(rows)].to(rows)


# What another camera, detector or site makes of an aligned face: points moved by 1.2 of 256 pixels, half of the faces
# shrunk to as little as 112.
EVERYDAY = InputDiversity(
    noise_probability=0.0, resize_probability=0.5, low=0.44, flip_probability=0.5, exposure=0.2, jitter=1.2 / 256
)


def mirrored(images: Tensor, points: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Left and right exchanged; the five points (N,5,2) are named as seen in the picture, so they change places."""
    if points is None:
        return images.flip(-1), None
    moved = torch.stack([points[..., 0], images.shape[-1] - 1 - points[..., 1]], dim=-1)
    return images.flip(-1), moved[:, [1, 0, 2, 4, 3]]


def adversarial_loss(
    images: Tensor,
    embeddings_of_target: Sequence[Tensor],
    embed: Sequence[Embed],
    views: int = 5,
    diversity: InputDiversity | None = InputDiversity(),
    points: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Impersonation: mean over random views and recognisers of 1 - cos(f(T(x)), f(z)), a scalar in [0,2].

    Shape: images (N,3,H,W) in [-1,1]; one (D,) or (N,D) target embedding and one callable (images, points) -> (N,D) per
    recogniser. The target is embedded once by the caller; the released loop does it again for every view.
    For H, give the source's own embeddings with `views=1, diversity=None`: the identity is to come back.
    """
    (cosines,) = _view_cosines(images, [embeddings_of_target], embed, views, diversity, points, generator)
    return (1 - cosines).mean()


def attack_losses(
    images: Tensor,
    embeddings_of_target: Sequence[Tensor],
    embeddings_of_own: Sequence[Tensor],
    embed: Sequence[Embed],
    views: int = 5,
    diversity: InputDiversity | None = InputDiversity(),
    points: Tensor | None = None,
    generator: torch.Generator | None = None,
    margin: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Impersonation as `adversarial_loss`, and dodging, which the paper leaves out, from the same views.

    Dodging is the mean of relu(cos(f(T(x)), f(own)) - margin): once the person is `margin` away there is nothing to
    gain, so the loss stops pulling. Returns both scalars; the images are embedded once for both.
    """
    anchors = [embeddings_of_target, embeddings_of_own]
    to_target, to_own = _view_cosines(images, anchors, embed, views, diversity, points, generator)
    return (1 - to_target).mean(), F.relu(to_own - margin).mean()


def _view_cosines(
    images: Tensor,
    anchors: Sequence[Sequence[Tensor]],
    embed: Sequence[Embed],
    views: int,
    diversity: InputDiversity | None,
    points: Tensor | None,
    generator: torch.Generator | None,
) -> list[Tensor]:
    """Per set of anchors the cosines (recognisers, views, N) of the viewed images with every recogniser's anchor."""
    if any(len(vectors) != len(embed) for vectors in anchors) or not embed or views < 1:
        counts = [len(vectors) for vectors in anchors]
        raise ValueError(f"one embedding per recogniser and a view expected, got {counts}, {len(embed)}, {views}")
    viewed, moved = _views(images, points, views, diversity, generator)
    rows: list[list[Tensor]] = [[] for _ in anchors]
    for position, network in enumerate(embed):
        embedding = network(viewed, moved).float().unflatten(0, (views, len(images)))
        for row, vectors in zip(rows, anchors):
            # `expand` refuses embeddings of another network's size.
            row.append(F.cosine_similarity(embedding, vectors[position].float().expand_as(embedding), dim=-1))
    return [torch.stack(row) for row in rows]


def _views(
    images: Tensor,
    points: Tensor | None,
    views: int,
    diversity: InputDiversity | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor | None]:
    """All views in one batch (views * N), which every recogniser sees: five small passes would cost more than one."""
    if diversity is None:
        return images.repeat(views, 1, 1, 1), None if points is None else points.repeat(views, 1, 1)
    drawn = [diversity(images, points, generator) for _ in range(views)]
    return torch.cat([view for view, _ in drawn]), None if points is None else torch.cat([moved for _, moved in drawn])


def _draw_on(generator: torch.Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device


def _uniform(generator: torch.Generator | None) -> float:
    return torch.rand((), generator=generator, device=_draw_on(generator)).item()


def _integer(low: int, high: int, generator: torch.Generator | None) -> int:
    return int(torch.randint(low, high, (), generator=generator, device=_draw_on(generator)).item())
