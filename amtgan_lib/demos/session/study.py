"""A study of naturalness: pairs of one photo before and after, in random order, and which of the two is pointed at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from amtgan_lib import evaluation, formats
from amtgan_lib.demos.session.gallery import PEOPLE, people
from amtgan_lib.demos.session.kits import Kit, StudioError, drawn_kit
from amtgan_lib.files import write_text
from amtgan_lib.images import open_photo
from amtgan_lib.protection import Protector

SIDES = ("left", "right")
MARK = "_protected"  # what the command ``protect`` adds to a photo's name


@dataclass(frozen=True, eq=False)
class Pair:
    """One photo before and after its protection, RGB and of one size."""

    name: str
    original: Image.Image
    protected: Image.Image

    def __post_init__(self):
        if self.original.size != self.protected.size:
            sizes = [f"{width} x {height}" for width, height in (self.original.size, self.protected.size)]
            raise StudioError(f"{self.name}: {sizes[0]} before and {sizes[1]} after; both must have the same size")


def pairs_in(originals: str | Path, protected: str | Path) -> list[Pair]:
    """Pairs of the photos of one folder and those of the same name, or name_protected, in another.

    Raises StudioError for a missing folder and where no photo has its fellow.
    """
    originals, protected = Path(originals), Path(protected)
    for folder in (originals, protected):
        if not folder.is_dir():
            raise StudioError(f"{folder} is not a folder")
    after = {path.stem.removesuffix(MARK): path for path in _photos(protected)}
    pairs = [(path, after[path.stem]) for path in _photos(originals) if path.stem in after]
    if not pairs:
        raise StudioError(f"no photo of {originals} has one of the same name in {protected}")
    return [Pair(before.stem, _opened(before), _opened(fellow)) for before, fellow in pairs]


def _opened(photo: Path | Image.Image) -> Image.Image:
    return Image.fromarray(open_photo(photo).rgb)


def _photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in formats.readable())


def drawn_pairs(rows: Sequence[int] = PEOPLE, kit: Kit | None = None) -> list[Pair]:
    """Drawn people, protected now: a few seconds each."""
    protector = Protector((kit or drawn_kit()).method)
    photos = [(person.name, person.large()) for person in people(rows)]
    return [Pair(name, _opened(photo), _opened(protector.protect(photo).image)) for name, photo in photos]


class Study:
    """Pairs in an order and on sides that the seed draws, and the answers so far. Raises StudioError without a pair."""

    def __init__(self, pairs: Sequence[Pair], seed: int = 0):
        if not pairs:
            raise StudioError("a study needs at least one pair of photos")
        draw = np.random.default_rng(seed)
        self.pairs = [pairs[number] for number in draw.permutation(len(pairs))]
        self.sides = [SIDES[number] for number in draw.integers(0, 2, len(pairs))]
        self.answers: list[dict] = []

    @property
    def done(self) -> bool:
        """Whether every pair has its answer."""
        return len(self.answers) == len(self.pairs)

    def shown(self) -> tuple[Image.Image, Image.Image]:
        """The pictures on the left and on the right of the pair that waits for its answer."""
        pair, side = self.pairs[len(self.answers)], self.sides[len(self.answers)]
        both = (pair.protected, pair.original)
        return both if side == "left" else both[::-1]

    def answer(self, side: str, seconds: float) -> None:
        """Somebody takes the picture on that side for the protected one. ValueError where nothing is asked."""
        if self.done or side not in SIDES:
            raise ValueError(f"there is no question to answer with {side!r}")
        truth = self.sides[len(self.answers)]
        own = {"photo": self.pairs[len(self.answers)].name, "protected": truth, "answer": side}
        self.answers.append({**own, "right": side == truth, "seconds": round(seconds, 2)})

    def table(self) -> pd.DataFrame:
        """One row an answer: photo, protected and answer (sides), right, seconds."""
        return pd.DataFrame(self.answers, columns=["photo", "protected", "answer", "right", "seconds"])

    def rate(self) -> tuple[float, float, float]:
        """Share of right answers and its 95 % interval; one half is what guessing gives. NaN before any answer."""
        right, count = sum(answer["right"] for answer in self.answers), len(self.answers)
        return (right / count if count else float("nan"), *evaluation.wilson(right, count))

    def save(self, path: Path) -> Path:
        """The answers so far as CSV."""
        return write_text(self.table().to_csv(index=False), path)
