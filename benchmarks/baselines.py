"""The first entries of the leaderboard: pictures that need no method, and the look of ``protect --quick``.

.venv/bin/python -m benchmarks.baselines blur results/runs/blur
python -m amtgan_lib evaluate results/runs/blur --protocol drawn --card results/runs/blur.yaml --submit

It writes the photos of the protocol ``drawn``, changed, and beside their folder the method card.
"""

import argparse
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageFilter
from tqdm.auto import tqdm

from amtgan_lib import experiments, images, methods, protection
from amtgan_lib.datasets import protocol
from amtgan_lib.datasets.protocol import NOBODY, Protocol
from amtgan_lib.evaluation.leaderboard import Card
from amtgan_lib.methods import natural

HINTING = ("drawn_ir", "drawn_irse", "drawn_mobile")  # no relative of drawn_inception
HERE = "benchmarks/baselines.py"
BLUR = 4  # pixels of 160, the standard deviation

Photos = Mapping[str, Image.Image]


def clean(photos: Photos) -> Photos:
    """The photos as they are."""
    return photos


def blur(photos: Photos) -> Photos:
    """A Gaussian blur."""
    return {name: photo.filter(ImageFilter.GaussianBlur(BLUR)) for name, photo in photos.items()}


def mean_face(photos: Photos) -> Photos:
    """For each photo the mean of all of them, which have one size."""
    mean = np.mean([np.asarray(photo, float) for photo in photos.values()], axis=0)
    return dict.fromkeys(photos, Image.fromarray(mean.round().astype(np.uint8)))


PICTURES: dict[str, tuple[Callable[[Photos], Photos], str]] = {
    "clean": (clean, "the photos themselves"),
    "blur": (blur, f"a Gaussian blur of {BLUR} pixels"),
    "mean_face": (mean_face, "the mean of all photos, the same for everybody"),
}
NATURAL = "natural_quick"


def natural_quick(by: Protocol, folder: Path) -> None:
    """The look that ``protect --quick`` searches for, by the hints of three judges; the clean photo where it fails."""
    files, references = (protocol.found(by.of_role(role)) for role in ("source", "reference"))
    pairs = by.sources.assign(probe=list(files), source=list(map(str, files.values())))
    pairs = pairs.assign(reference=[str(references[name]) for name in pairs["reference"]])
    method = methods.bare(natural.method(protection.guide_to(names=HINTING), natural.QUICK))
    report = experiments.protect_pairs(method, pairs[["probe", "source", "reference"]], folder, tqdm)
    for row in report[report["protected"] == ""].itertuples():
        shutil.copyfile(row.source, folder / row.probe)


def made(name: str, folder: Path) -> Card:
    """Write the photos by a baseline into a folder; the card to be scored with."""
    by = protocol.protocol("drawn")
    if name == NATURAL:
        natural_quick(by, folder)
        return Card(name, "the look of protect --quick, in a face's own colours", HERE, HINTING, NOBODY)
    change, about = PICTURES[name]
    photos = {name: Image.fromarray(images.open_photo(file).rgb) for name, file in protocol.found(by.sources).items()}
    for file, picture in change(photos).items():
        images.save(folder / file, picture)
    return Card(name, about, HERE, (), "all" if name == "clean" else NOBODY)


def main() -> None:
    """Make the baseline that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=[*PICTURES, NATURAL])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    told = asdict(made(options.name, options.folder))
    card = options.folder.with_suffix(".yaml")
    card.write_text(yaml.safe_dump(told | {"hints": list(told["hints"])}, sort_keys=False), encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
