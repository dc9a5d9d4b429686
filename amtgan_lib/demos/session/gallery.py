"""Drawn people and makeups to begin with: no download, and nobody who exists. None of them took part in training."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from amtgan_lib import datasets
from amtgan_lib.demos.session.kits import StudioError

# Rows of the drawn world's test pairs: good and bad cases, as they come.
PEOPLE = (3, 4, 9, 14, 19, 7)
MAKEUPS = {
    "berry": "drawn/p1086-m0043-s2172.png",
    "plum": "drawn/p1053-m0023-s2106.png",
    "wine": "drawn/p1090-m0045-s2180.png",
    "rose": "drawn/p1112-m0058-s2224.png",
    "blue": "drawn/p1003-m0001-s2006.png",
    "violet": "drawn/p1111-m0057-s2222.png",
}
LARGE = 384  # pixels of a portrait that is shown; the experiments' have 160


@dataclass(frozen=True)
class Sample:
    """A drawn photo by name; ``small`` is its file, ``other`` names another photo of the same person ("" for none)."""

    name: str
    asset: str
    small: Path
    other: str = ""

    def large(self) -> Path:
        """The file of the same photo at LARGE pixels; one that does not come with the package is drawn now."""
        return datasets.shown.files([self.asset], size=LARGE)[self.asset]

    def known(self) -> Path | None:
        """The file of the other photo of the same person."""
        return datasets.shown.files([self.other])[self.other] if self.other else None


def people(rows: Collection[int] = PEOPLE) -> list[Sample]:
    """Drawn people of the test, in the order of ``rows``; StudioError for a row that there is not."""
    pairs = datasets.test_pairs(datasets.manifest_of("drawn"))
    if strangers := [row for row in rows if not 0 <= row < len(pairs)]:
        raise StudioError(f"there is no drawn person {strangers[0]}; there are 0 to {len(pairs) - 1}")
    pairs = pairs.iloc[list(rows)]
    files = datasets.shown.files(pairs["source"].tolist())
    return [
        Sample(f"portrait {row}", pair.source, files[pair.source], pair.other)
        for row, pair in zip(rows, pairs.itertuples())
    ]


def makeups() -> list[Sample]:
    """Drawn people in makeup."""
    files = datasets.shown.files(list(MAKEUPS.values()))
    return [Sample(name, asset, files[asset]) for name, asset in MAKEUPS.items()]


def store(folder: Path = datasets.shown.FOLDER) -> list[Path]:
    """Draw anew the pictures that come with the package: all of this gallery, and the other people of the test."""
    pairs = datasets.test_pairs(datasets.manifest_of("drawn"))
    chosen = pairs.iloc[list(PEOPLE)]
    judged = [*chosen["source"], *chosen["other"], *MAKEUPS.values()]
    seen = [asset for asset in pairs["source"] if asset not in judged]
    return [
        *datasets.shown.store(chosen["source"].tolist(), LARGE, folder=folder),
        *datasets.shown.store(judged, folder=folder),
        *datasets.shown.store(seen, exact=False, folder=folder),
    ]
