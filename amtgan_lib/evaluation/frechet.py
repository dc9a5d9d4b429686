"""Fréchet distances of two sets of pictures: FID with a local Inception file, else one on a recogniser's features.

Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium" (NeurIPS 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from amtgan_lib.datasets import Progress
from amtgan_lib.evaluation.recognition import Facts, provenance
from amtgan_lib.evaluation.tables import Crop, clean_face
from amtgan_lib.files import sha256_of
from amtgan_lib.images import open_photo, to_uint8
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import Row

INCEPTION_SHA256_PREFIX = "6785a0e5"  # in the name of the file, as torch's hub writes it
SIDE = 256  # of the crops that are compared
STAGE = 1  # of a recogniser's four: what follows is about who somebody is, which protection is to change


@dataclass(frozen=True)
class Features:
    """What a Fréchet distance is taken of: pictures (N,3,H,W) in [-1,1] to vectors (N,D), and the metric's name."""

    name: str
    of: Callable[[Tensor], Tensor]


def features(recognizer: Recognizer, inception: str | Path = "") -> Features:
    """Inception's pool features, and so FID, from a file of its weights; without one those of the recogniser.

    inception: torch-fidelity's ``weights-inception-2015-12-05-6785a0e5.pth``; needs torch-fidelity. Without it the
    features are the maps of the recogniser's second stage, mean over positions, and the metric is called "frechet" and
    the recogniser: its numbers are not comparable with FID, nor with those of another recogniser.
    FileNotFoundError where there is no such file, ValueError for another one; ModuleNotFoundError without the package.
    """
    if inception:
        network = _inception(Path(inception))
        return Features("fid", lambda images: network(torch.from_numpy(to_uint8(images)).movedim(-1, 1))[0].float())
    name = f"frechet {recognizer.name}"
    return Features(name, lambda images: recognizer.features(images)[STAGE].float().mean((2, 3)))


def _inception(file: Path) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """torch-fidelity's network on pictures (N,3,H,W) uint8, from this file alone; nothing is downloaded."""
    if not file.is_file():
        raise FileNotFoundError(f"FID needs Inception's weights; there is no file {file}")
    digest = sha256_of(file)
    if not digest.startswith(INCEPTION_SHA256_PREFIX):  # any other network gives plausible numbers that mean nothing
        raise ValueError(f"{file} has sha256 {digest[:8]}..., not {INCEPTION_SHA256_PREFIX}...: not FID's Inception")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(file))


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of two sets of vectors (N,D) and (M,D): 0 for equal sets.

    The distance of normal distributions with their means and covariances. It is biased upwards where N is not far above
    D, so distances are compared at equal N only. ValueError for sets of fewer than two.
    """
    if min(len(first), len(second)) < 2 or first.shape[1:] != second.shape[1:]:
        raise ValueError(f"two sets of at least two vectors of one length expected, got {first.shape}, {second.shape}")
    means = [vectors.mean(0, dtype=np.float64) for vectors in (first, second)]
    one, other = (np.atleast_2d(np.cov(vectors.astype(np.float64), rowvar=False)) for vectors in (first, second))
    # The trace of the root of C1 C2 is that of C1^(1/2) C2 C1^(1/2), whose eigenvalues are real and not below 0.
    values, axes = np.linalg.eigh(one)
    root = axes * np.sqrt(values.clip(0)) @ axes.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    return float(((means[0] - means[1]) ** 2).sum() + np.trace(one) + np.trace(other) - 2 * shared)


@torch.no_grad()
def frechet_table(
    reports: Mapping[str, pd.DataFrame], kind: Features, crop: Crop, progress: Progress = iter, **facts: Facts
) -> pd.DataFrame:
    """A row a method: the Fréchet distance of its protected faces to the same people's clean ones, with their number.

    Faces are cut in the frame of the clean one, at 256 pixels, which both sets share; ``crop`` finds a clean file's
    largest face. A photo without a face or without a protected file is left out. There is no interval: the distance of
    a resampled set is biased by its repetitions.
    """
    rows = []
    for method, report in reports.items():
        pairs = []
        for row in progress(list(report[report["protected"] != ""].itertuples())):
            if at := clean_face(row.clean, crop):
                both = [at.view(open_photo(file), SIDE)[0] for file in (row.clean, row.protected)]
                pairs.append(kind.of(torch.stack(both)).cpu().numpy())
        if len(pairs) > 1:
            clean, protected = np.stack(pairs, 1)
            value, own = frechet_distance(clean, protected), {"method": method, "recogniser": "", "far": None}
            rows.append(Row(metric=kind.name, value=value, n=len(pairs), **own, **provenance(), **facts))
    return results.frame(rows)
