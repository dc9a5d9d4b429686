"""What somebody learns who wants to see through protection: purifiers, a verifier, a detector of protected photos.

They learn from training people and are judged on others. Those that change a face are methods like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amtgan_lib.datasets import FaceSet, Progress
from amtgan_lib.evaluation import impostor_scores, verification_scores
from amtgan_lib.faces import FaceCrop
from amtgan_lib.files import read_safetensors, write_safetensors
from amtgan_lib.methods import Method
from amtgan_lib.methods.catalogue import transferred

# ---------------------------------------------------------------- faces changed once more


def purifier(name: str, network: nn.Module, size: int) -> Method:
    """The method that gives a face crop of ``size`` pixels to a network (N,3,S,S) -> (N,3,S,S)."""

    @torch.no_grad()
    def draw(crop: FaceCrop, reference: FaceCrop) -> Tensor:
        return network(crop.image[None])[0].clamp(-1, 1)

    return Method(name, draw, size)


def without_makeup(bare: FaceCrop) -> Method:
    """The method that takes makeup off: lips and lids get the colours that they have, beside the skin, in a bare face.

    It is the transfer of ``makeup_only`` with a reference that wears none.
    """
    return Method("without_makeup", lambda crop, _: transferred(crop, bare), bare.size)


@dataclass(frozen=True)
class Denoising:
    """How the autoencoder is trained. noise: the largest standard deviation, in [-1,1] units."""

    steps: int = 400
    batch: int = 8
    width: int = 8
    noise: float = 0.15
    learning_rate: float = 2e-3
    seed: int = 0


class Autoencoder(nn.Sequential):
    """(N,3,S,S) in [-1,1] -> (N,3,S,S), S divisible by 4; at a width of 8 half as many numbers lie between."""

    def __init__(self, width: int):
        super().__init__(
            *(nn.Conv2d(3, width, 5, 2, 2), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(width, 3 * width, 5, 2, 2), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(3 * width, 3 * width, 3, 1, 1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(3 * width, 48, 3, 1, 1), nn.PixelShuffle(4)),
        )


def autoencoder(faces: FaceSet, file: Path, how: Denoising = Denoising(), progress: Progress = iter) -> Autoencoder:
    """The autoencoder that gives faces back without noise, trained on ``faces`` at their size and kept in ``file``.

    A file of the same training is read instead. Noise has grains of 1, 2 or 4 pixels, as adversarial changes do.
    """
    told = asdict(how) | {"faces": len(faces), "size": faces.size}
    torch.manual_seed(how.seed)
    network = Autoencoder(how.width)
    tensors, kept = read_safetensors(file, *told) if file.is_file() else ({}, None)
    if kept == list(told.values()):
        network.load_state_dict(tensors)
    else:
        _denoise(network, faces, how, progress)
        write_safetensors(file, network.state_dict(), told)
    return network.eval().requires_grad_(False)


def _denoise(network: nn.Module, faces: FaceSet, how: Denoising, progress: Progress) -> None:
    adam = torch.optim.Adam(network.parameters(), how.learning_rate)
    draw = torch.Generator().manual_seed(how.seed)
    for step in progress(range(how.steps)):
        clean = faces.batch(torch.randint(len(faces), (how.batch,), generator=draw).tolist()).image
        grain = 2 ** (step % 3)
        noise = torch.randn(how.batch, 3, faces.size // grain, faces.size // grain, generator=draw)
        noise = F.interpolate(noise, size=clean.shape[-2:], mode="bilinear")
        noise = noise * how.noise * torch.rand(how.batch, 1, 1, 1, generator=draw)
        loss = F.l1_loss(network((clean + noise).clamp(-1, 1)), clean)
        adam.zero_grad()
        loss.backward()
        adam.step()


# ---------------------------------------------------------------- a verifier


@dataclass(frozen=True)
class Verifier:
    """A linear layer behind a recogniser: vectors (N,D) minus ``mean`` (D,), times ``matrix`` (D,D), of length 1."""

    mean: np.ndarray
    matrix: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Unit vectors (N,D); rows without a face (NaN) stay so."""
        moved = (vectors - self.mean) @ self.matrix
        return moved / np.linalg.norm(moved, axis=-1, keepdims=True)


SHRINK = 0.2


def fitted_verifier(one: np.ndarray, other: np.ndarray) -> Verifier:
    """The layer that makes light of how two photos (P,D), (P,D) of the same people differ: within-class whitening.

    W = C^(-1/2), C the mean of (a - b)(a - b)^T / 2, a share SHRINK of it replaced by its mean variance in all
    directions, since there are fewer people than directions (Hatch, Kajarekar and Stolcke, Interspeech 2006; the
    shrinkage is Ledoit and Wolf's form). ValueError where nobody has two faces.
    """
    known = np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1)
    if not known.any():
        raise ValueError("a verifier learns from people with two faces each, and there are none")
    difference = (one - other)[known]
    within = difference.T @ difference / (2 * known.sum())
    spread = np.trace(within) / len(within) * np.eye(len(within))
    values, directions = np.linalg.eigh((1 - SHRINK) * within + SHRINK * spread)
    mean = np.concatenate([one[known], other[known]]).mean(axis=0)
    return Verifier(mean, directions / np.sqrt(values) @ directions.T)


def unseen_strangers(one: np.ndarray, other: np.ndarray, people: Sequence[str]) -> np.ndarray:
    """Cosines of strangers among photos (P,D), (P,D), flat: each half of the people by a verifier of the other half.

    Among those whom it is fitted on, strangers look less alike than others do, and their threshold accepts everybody.
    """
    ids = np.unique(people, return_inverse=True)[1]
    scores = []
    for half in (0, 1):
        asked = ids % 2 == half
        verifier = fitted_verifier(one[~asked], other[~asked])
        found = verification_scores(verifier(one[asked]), verifier(other[asked]))
        scores.append(impostor_scores(found, ids[asked], ids[asked]))
    return np.concatenate(scores)


# ---------------------------------------------------------------- a detector

OCTAVES, CELLS = 4, 4
# Brightness, red against green, blue against yellow: changes of colour show there.
OPPONENT = torch.tensor(((1 / 3, 1 / 3, 1 / 3), (0.5, -0.5, 0.0), (0.25, 0.25, -0.5)))


def traces(images: Tensor) -> np.ndarray:
    """What a detector looks at in face crops (N,3,S,S) in [-1,1]: (N, 240) numbers.

    Per cell of a 4 x 4 grid and opponent colour: the mean, and how strong detail is in each of 4 octaves.
    """
    level, found = torch.einsum("ij,njhw->nihw", OPPONENT, images), []
    found.append(F.adaptive_avg_pool2d(level, CELLS))
    for _ in range(OCTAVES):
        coarse = F.avg_pool2d(level, 2)
        detail = level - F.interpolate(coarse, size=level.shape[-2:], mode="bilinear")
        found.append((F.adaptive_avg_pool2d(detail.square(), CELLS) + 1e-6).log())
        level = coarse
    return torch.cat(found, dim=1).flatten(1).double().numpy()


def fitted_detector(clean: np.ndarray, protected: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The ridge regression of +1 (protected) and -1 (clean) on the traces (N,240), (M,240) of face crops.

    It gives scores (K,) for traces (K,240): the higher, the more they look protected.
    """
    seen = np.concatenate([clean, protected])
    said = np.repeat([-1.0, 1.0], [len(clean), len(protected)])
    mean, spread = seen.mean(axis=0), seen.std(axis=0) + 1e-9
    scaled = (seen - mean) / spread
    weights = np.linalg.solve(scaled.T @ scaled + len(seen) * np.eye(scaled.shape[1]), scaled.T @ said)
    return lambda asked: (asked - mean) / spread @ weights
