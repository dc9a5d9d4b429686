"""The gradient baselines of AMT-GAN's Table 1, PGD, MI-FGSM and TI-DIM, on its cosine objective.

Sources: PGD, Madry et al. (ICLR 2018, arXiv 1706.06083); MI-FGSM, Dong et al. (CVPR 2018, arXiv 1710.06081); TI-DIM,
Dong et al. (CVPR 2019, arXiv 1904.02884), which adds the diverse inputs of Xie et al. (CVPR 2019, arXiv 1803.06978).
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib import losses
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.images import blur, to_uint8
from amtgan_lib.losses import InputDiversity
from amtgan_lib.recognizers import Recognizer

BOUND = 16 / 255 * 2  # 16 of 255 levels, in [-1,1] units: what AMT-GAN gave these baselines (its issue #14)


@dataclass(frozen=True)
class Attack:
    """An iterated sign-gradient attack, lengths in [-1,1] units; ValueError for values that make none.

    Every step takes the gradient at a view of the image, smooths it with `kernel`, divides it by its L1 norm, adds it
    to `momentum` times the direction so far and moves every pixel by `step` against the sign.
    """

    name: str
    steps: int
    bound: float = BOUND  # L-inf, around the clean image
    step_size: float | None = None  # None: as the papers choose it, see `step`
    momentum: float = 0.0
    diversity: InputDiversity | None = None  # moves the pixels, not the points that faces are aligned by
    kernel: int = 0  # odd side in pixels of the Gaussian that smooths the gradient; 0: none
    random_start: bool = False
    seed: int = 0

    def __post_init__(self):
        rules = (
            ("steps", self.steps >= 1, "at least 1"),
            ("bound", self.bound >= 0, "at least 0"),
            ("step_size", self.step_size is None or self.step_size > 0, "above 0, or None"),
            ("momentum", self.momentum >= 0, "at least 0"),
            ("kernel", self.kernel == 0 or (self.kernel > 0 and self.kernel % 2 == 1), "odd, or 0 for none"),
        )
        for field, fine, expected in rules:
            if not fine:
                raise ValueError(f"{self.name}: {field} is {getattr(self, field)}, expected {expected}")

    @property
    def step(self) -> float:
        """Length of a step in [-1,1] units.

        By default bound / steps, with which Dong et al. reach the edge of the ball from its centre in a straight line;
        after a random start 2.5 bound / steps, with which Madry et al. reach it from anywhere.
        """
        if self.step_size is not None:
            return self.step_size
        return (2.5 if self.random_start else 1.0) * self.bound / self.steps


# Of AMT-GAN's runs we know the bound only: steps, momentum, kernel and probability are those of the papers named above.
PGD = Attack("pgd", steps=40, random_start=True)  # as on MNIST there
MI_FGSM = Attack("mi_fgsm", steps=10, momentum=1.0)
# Xie et al. draw an image of 299 pixels at a size in [299,330) into a frame of 330; here the frame keeps its size.
DIVERSE = InputDiversity(noise_probability=0.0, resize_probability=0.7, low=299 / 330)
# The kernel is for 299 pixels. At 128 px one of 7, the same share of the side, transfers better: mean cosine to the
# target of two unseen MobileFaceNets 0.45 and 0.33, against 0.37 and 0.31 with 15 (trial on EdgeFace-XS, n = 24).
TI_DIM = Attack("ti_dim", steps=10, momentum=1.0, diversity=DIVERSE, kernel=15)
ATTACKS = {each.name: each for each in (PGD, MI_FGSM, TI_DIM)}


def attack(name: str) -> Attack:
    """The attack of this name; an unknown one is refused with those that exist."""
    if name not in ATTACKS:
        raise ValueError(f"no attack {name!r}; there are {', '.join(ATTACKS)}")
    return ATTACKS[name]


def perturb(
    attack: Attack,
    faces: FaceBatch,
    target_embeddings: Sequence[Tensor],
    recognizers: Sequence[Recognizer],
    *,
    own_embeddings: Sequence[Tensor] | None = None,
    dodging: float = 0.0,
    batch: int = 16,
    progress: Callable = iter,
) -> Tensor:
    """The faces, every pixel moved by at most `attack.bound`, so that the recognisers take them for the target.

    Minimises the mean over recognisers of 1 - cos(f(x'), f(z)), plus `dodging` times that of relu(cos(f(x'), f(x))).

    Shape: faces.image (N,3,H,W) in [-1,1], faces aligned by faces.points (N,5,2); one (D,) target embedding and, for
    dodging, one (N,D) own embedding per recogniser. Faces and recognisers lie on the same device; `batch` images are
    attacked at a time and `progress` wraps the iterable of their first indices. Returns (N,3,H,W) in [-1,1], detached.
    Raises ValueError where numbers, shapes or ranges do not fit.

    All recognisers given are attacked together. AMT-GAN's table gives each of these baselines one recogniser and
    AMT-GAN three (its issues #12 and #14): not like for like, so a fair table holds a row with the same three, too.

    An image's result depends on nothing else in the batch, nor on its place there: its random numbers follow from its
    pixels and `attack.seed`. (A batch of another size may round a gradient near 0 to the other sign.)
    """
    _check_images(faces.image)
    _check_embeddings("target_embeddings", target_embeddings, len(recognizers), ())
    if own_embeddings is not None:
        _check_embeddings("own_embeddings", own_embeddings, len(recognizers), (len(faces),))
    if batch < 1 or dodging < 0 or (dodging > 0 and own_embeddings is None):
        raise ValueError(
            f"batch must be at least 1 (is {batch}), dodging at least 0 and with own_embeddings ({dodging})"
        )
    result = faces.image.detach().clone()
    for first in progress(range(0, len(faces), batch)):
        chunk = slice(first, first + batch)
        own = None if own_embeddings is None else [each[chunk] for each in own_embeddings]
        loss = partial(_loss, targets=target_embeddings, recognizers=recognizers, own=own, dodging=dodging)
        result[chunk] = _perturbed(attack, faces[chunk], loss)
    return result


def _loss(
    images: Tensor,
    points: Tensor,
    targets: Sequence[Tensor],
    recognizers: Sequence[Recognizer],
    own: Sequence[Tensor] | None,
    dodging: float,
) -> Tensor:
    """The objective summed over images: with a mean, the size of a gradient would depend on that of the batch."""
    views = {"views": 1, "diversity": None, "points": points}
    if own is None:
        return len(images) * losses.adversarial_loss(images, targets, recognizers, **views)
    impersonation, dodged = losses.attack_losses(images, targets, own, recognizers, **views)
    return len(images) * (impersonation + dodging * dodged)


def _perturbed(attack: Attack, faces: FaceBatch, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """One chunk attacked: (N,3,H,W)."""
    clean = faces.image.detach()
    lowest, highest = (clean - attack.bound).clamp(min=-1), (clean + attack.bound).clamp(max=1)
    draws = [_generator(image, attack.seed) for image in clean]
    image = torch.stack([_start(each, draw, attack) for each, draw in zip(clean, draws)]).clamp(lowest, highest)
    direction = torch.zeros_like(image)
    for _ in range(attack.steps):
        image.requires_grad_()
        with torch.enable_grad():
            value = loss(_viewed(image, draws, attack.diversity), faces.points)
            (gradient,) = torch.autograd.grad(value, image)
        direction = attack.momentum * direction + _unit(_smoothed(gradient, attack.kernel))
        image = (image.detach() - attack.step * direction.sign()).clamp(lowest, highest)
    return image


def _generator(image: Tensor, seed: int) -> torch.Generator:
    """Random numbers that belong to a picture (3,H,W), wherever in a batch it stands; alike on every device."""
    return torch.Generator().manual_seed(zlib.crc32(to_uint8(image).tobytes(), seed))


def _start(image: Tensor, draw: torch.Generator, attack: Attack) -> Tensor:
    """The image (3,H,W), or a point drawn uniformly from the ball around it."""
    if not attack.random_start:
        return image
    return image + attack.bound * (2 * torch.rand(image.shape, generator=draw) - 1).to(image)


def _viewed(images: Tensor, draws: Sequence[torch.Generator], diversity: InputDiversity | None) -> Tensor:
    """Every image in a view of its own.

    The points are not moved along: alignment would undo the shrinking, and of DIM nothing but a blur would be left.
    """
    if diversity is None:
        return images
    return torch.cat([diversity(images[i : i + 1], None, draw)[0] for i, draw in enumerate(draws)])


def _unit(gradient: Tensor) -> Tensor:
    """Each image's gradient at L1 norm 1, so that momentum weighs all steps alike; zeros stay zeros."""
    return F.normalize(gradient.flatten(1), p=1, dim=1, eps=torch.finfo(gradient.dtype).tiny).view_as(gradient)


def _smoothed(gradient: Tensor, size: int) -> Tensor:
    """The gradient (N,3,H,W) convolved with the kernel: that of the loss averaged over small shifts of the image.

    The kernel's edge lies at three standard deviations, as in the released code of TI-DIM.
    """
    half = size // 2
    return blur(gradient, half / 3, half, border="constant") if half else gradient


def _check_images(image: Tensor) -> None:
    # `not <=` also catches nan. Beyond [-1,1] the ball around the image would miss the range that it is clamped to.
    if image.ndim != 4 or not image.is_floating_point() or (len(image) and not image.abs().max() <= 1):
        raise ValueError(f"faces.image must be float (N,3,H,W) in [-1,1], got {image.dtype} {tuple(image.shape)}")


def _check_embeddings(name: str, embeddings: Sequence[Tensor], recognizers: int, leading: tuple[int, ...]) -> None:
    shapes = [tuple(each.shape) for each in embeddings]
    if not recognizers or len(shapes) != recognizers or any(shape[:-1] != leading for shape in shapes):
        expected = f"({', '.join(map(str, (*leading, 'D')))})"
        raise ValueError(f"{name} for {recognizers} recognisers are {shapes}; expected one {expected} for each")
