"""The drawn world: who is in it, and its photos, each of which is drawn from its own name.

A photo is called ``drawn/p0012-m0003-s0045.png``: person 12 in makeup 3 (``bare`` for none) at moment 45 of seed 0.
Beside it lies its parse map, ``….parse.png``, exact because it is drawn. What is missing is drawn when it is asked for.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from amtgan_lib import compute, images, paths, portraits
from amtgan_lib.datasets.manifest import MANIFEST_COLUMNS, in_test

PEOPLE = 180  # a third of them is the test
REFERENCES = 60
TARGETS = 4  # as many as the paper has
# Numbers of the drawn people: those of the recognisers have other seeds (recognizer_training).
FIRST_REFERENCE, FIRST_TARGET = 1000, 2000
TWO = ((0, "source"), (1, "other"))  # photos of a person
PHOTO_SIZE = 160
CHUNK = 8
Progress = Callable[[Iterable], Iterable]  # wraps what takes long, as tqdm does
NAME = re.compile(r"drawn/p(\d+)-m(\d+|bare)-s(\d+)(\.parse)?\.png")


def manifest() -> pd.DataFrame:
    """The manifest of the drawn world, in the form of the open photographs' one."""
    rows = []
    for number in range(PEOPLE):
        person = f"drawn/{number:04d}"
        split = "test" if in_test(person) else "train"
        rows += [("drawn", person, part, split, name(number, None, 2 * number + i)) for i, part in TWO]
    for number in range(FIRST_TARGET, FIRST_TARGET + TARGETS):
        person = f"drawn_target/{number:04d}"
        rows += [("drawn_target", person, part, "train", name(number, None, 2 * number + i)) for i, part in TWO]
    for makeup, number in enumerate(_wearers()):
        person = f"drawn_makeup/{number:04d}"
        split = "test" if in_test(person) else "train"
        rows.append(("drawn_makeup", person, "reference", split, name(number, makeup, 2 * number)))
    table = pd.DataFrame(rows, columns=["set", "person", "part", "split", "asset"])
    table["parse_asset"] = table["asset"].str.replace(".png", ".parse.png", regex=False)
    return table.assign(parse_order="published")[MANIFEST_COLUMNS]


def _wearers() -> list[int]:
    """The people of the makeup references: as in the MT dataset, none who would have a beard."""
    numbers = np.arange(FIRST_REFERENCE, FIRST_TARGET)
    beardless = portraits.people(numbers).raw("masculine").numpy() < 0.5
    return numbers[beardless][:REFERENCES].tolist()


def matched(sources: Sequence[str], references: Sequence[str], choices: int = 3) -> list[str]:
    """For each source a reference of a similar complexion: in turn one of the nearest few.

    Makeup is chosen for one's skin. Colours taken from a much lighter or darker face would be a change of skin, not
    makeup, and no transfer by colour can tell the two apart.
    """
    own, other = (_complexion(names) for names in (sources, references))
    nearest = np.argsort(np.abs(own[:, None] - other[None]), axis=1)
    return [references[row[position % min(choices, len(row))]] for position, row in enumerate(nearest)]


def _complexion(assets: Sequence[str]) -> np.ndarray:
    return portraits.people([_numbers(asset)[0] for asset in assets]).raw("skin").numpy()


def name(person: int, makeup: int | None, moment: int) -> str:
    """The asset name of a drawn photo; the numbers are not negative."""
    if min(person, makeup or 0, moment) < 0:
        raise ValueError(f"people, makeups and moments have numbers from 0 on, got {person}, {makeup}, {moment}")
    return f"drawn/p{person:04d}-m{'bare' if makeup is None else f'{makeup:04d}'}-s{moment:04d}.png"


def is_drawn(asset: str) -> bool:
    """Whether a name of an asset is one of a drawn photo or its parse map."""
    return NAME.fullmatch(asset) is not None


def truth(source: str, reference: str) -> str:
    """The asset name of the source photo's very moment, its person in the reference's makeup.

    No photograph has this: it is what a perfect makeup transfer would show.
    """
    (person, _, moment), (_, makeup, _) = (_numbers(asset) for asset in (source, reference))
    return name(person, makeup, moment)


def _numbers(asset: str) -> tuple[int, int | None, int]:
    """Person, makeup and moment that a name stands for; ValueError where it is none."""
    found = NAME.fullmatch(asset)
    if found is None:
        raise ValueError(f"{asset!r} is no name of a drawn photo such as {name(12, 3, 45)!r}")
    person, makeup, moment, _ = found.groups()
    return int(person), None if makeup == "bare" else int(makeup), int(moment)


def files(assets: Sequence[str], progress: Progress = iter, size: int = 0) -> dict[str, Path]:
    """The files of drawn photos and parse maps; those that are missing are drawn now, on all cores.

    ``size`` 0 is that of the experiments, ``PHOTO_SIZE``.
    """
    place = folder(size)
    found = {asset: place / asset for asset in assets}
    photos = sorted({asset.replace(".parse.png", ".png") for asset, path in found.items() if not path.exists()})
    chunks = [photos[start : start + CHUNK] for start in range(0, len(photos), CHUNK)]
    compute.spread(functools.partial(_write, folder=place, size=size or PHOTO_SIZE), chunks, progress=progress)
    return found


@functools.cache
def folder(size: int = 0) -> Path:
    """Where drawn photos lie: a folder for each size and each state of the drawing code, so that none is ever stale."""
    code = [Path(__file__), Path(images.__file__), *sorted(Path(portraits.__file__).parent.glob("*.py"))]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in code) + str(size or PHOTO_SIZE).encode())
    return paths.RAW / f"drawn-{digest.hexdigest()[:10]}"


def draw(assets: Sequence[str], size: int = PHOTO_SIZE) -> portraits.Portraits:
    """Draw photos by name."""
    people, worn, moments = zip(*map(_numbers, assets))
    makeup = portraits.makeups([number or 0 for number in worn])
    makeup = portraits.taken_off(makeup, torch.tensor([number is None for number in worn]))
    return portraits.draw(portraits.people(people), makeup, portraits.scenes(moments), size)


def _write(assets: Sequence[str], folder: Path, size: int) -> None:
    drawn = draw(assets, size)
    for asset, image, parse in zip(assets, drawn.image, drawn.parse.numpy()):
        # The photo last: while it is missing, both are drawn again.
        images.save(folder / asset.replace(".png", ".parse.png"), Image.fromarray(parse.astype(np.uint8)))
        images.save(folder / asset, image)
