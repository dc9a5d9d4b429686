"""Count the faces found beside an upright one when they are turned by every 15 degrees: rows for docs/results.md.

.venv/bin/python -m benchmarks.turned 4 build    # pairs of portraits of the mirror, each at 24 angles; a folder
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from amtgan_lib import assets, faces
from amtgan_lib.faces import mtcnn, warps
from amtgan_lib.images import open_photo
from amtgan_lib.reporting import results

SIDE, STEP = 240, 15  # pixels of a portrait, degrees
NEAR = 0.15  # of the eye distance: all five points must be this near to those of the upright face
SETS = {"london": "*/neutral_front/*_03.jpg", "celeba_hq": "*.png"}


def portraits(name: str, count: int) -> list[Image.Image]:
    """Portraits of a set of the mirror, spread over it."""
    files = [asset for asset in assets.find(group=name, path_glob=SETS[name]) if assets.local(asset)]
    files = [asset for asset in files if "mask" not in asset.path]
    chosen = files[:: max(len(files) // count, 1)][:count]
    return [Image.open(assets.fetch(asset)).convert("RGB").resize((SIDE, SIDE)) for asset in chosen]


def beside(one: Image.Image, other: Image.Image, degrees: int) -> Image.Image:
    """One portrait upright, and another to its right, turned."""
    both = Image.new("RGB", (2 * SIDE, SIDE), "white")
    both.paste(one)
    both.paste(other.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=other.getpixel((2, 2))), (SIDE, 0))
    return both


def turned(points: np.ndarray, degrees: int) -> np.ndarray:
    """Where the five points (5, 2) of the other portrait lie in the pair."""
    angle, middle = np.deg2rad(degrees), (SIDE - 1) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (points - middle) @ turn.T + middle + (SIDE, 0)


def main(count: int, folder: Path) -> None:
    """Count, print and store in a folder."""
    facts = {"experiment": "turned faces", "preset": "", "recogniser": "", "target": "", "far": None, "metric": "found"}
    facts |= {"seed": 0, "commit": results.commit(), "device": results.device_name()}
    others = [*portraits("london", count - count // 2), *portraits("celeba_hq", count // 2)]
    uprights = portraits("london", count + 1)[::-1]
    pairs = [(one, other, five(faces.detect_one(other))) for one, other in zip(uprights, others)]
    rows = []
    for degrees in range(0, 360, STEP):
        found = seen = 0
        for one, other, points in pairs:
            picture, expected = np.asarray(beside(one, other, degrees)), turned(points, degrees)
            eyes = np.linalg.norm(expected[0] - expected[1])
            there = [five(crop) for crop in faces.detect(open_photo(picture))]
            found += any(np.linalg.norm(each - expected, axis=1).max() < NEAR * eyes for each in there)
            seen += any(_around(each.box, expected) for each in mtcnn.sightings(picture))
        for method, number in (("first search", found), ("second detector", seen)):
            own = {"method": method, "dataset": f"{degrees} degrees", "value": number / len(pairs), "n": len(pairs)}
            rows.append(results.Row(**facts, **own))
        print(f"{degrees} degrees: {found} found, {seen} seen by the second detector, of {len(pairs)}", flush=True)
    results.write(results.frame(rows), folder / "turned.csv")


def five(crop: faces.FaceCrop) -> np.ndarray:
    """The five points (5, 2) of a face as (x, y) in its photo."""
    return warps.apply(crop.matrix, crop.points.numpy()[:, ::-1])


def _around(box: np.ndarray, points: np.ndarray) -> bool:
    middle = points.mean(0)
    return bool((box[:2] < middle).all() and (middle < box[2:]).all())


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
