"""Drawn photos that come with the package, so that what is looked at first need not be drawn first.

WebP files in a folder for each size: exact for the portraits and makeups of the demos, which are protected and judged;
lossy for the rest of the test, which is only looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from amtgan_lib import images
from amtgan_lib.datasets import drawn

FOLDER = Path(__file__).resolve().parent / "pictures"
EXACT = {"lossless": True, "quality": 100, "method": 6}
LOSSY = {"quality": 85, "method": 6}


def files(assets: Sequence[str], size: int = 0, exact: bool = True) -> dict[str, Path]:
    """The files of drawn photos, as ``drawn.files``; those that come with the package are not drawn.

    exact=False accepts a lossy one, to be looked at only.
    """
    kinds = (True,) if exact else (True, False)
    places = {asset: [_place(asset, size, kind) for kind in kinds] for asset in assets}
    shipped = {asset: next((path for path in paths if path.is_file()), None) for asset, paths in places.items()}
    return shipped | drawn.files([asset for asset, path in shipped.items() if path is None], size=size)


def store(assets: Sequence[str], size: int = 0, exact: bool = True, folder: Path = FOLDER) -> list[Path]:
    """Draw photos and write them where the package has them; the files."""
    written = []
    for asset, picture in drawn.files(assets, size=size).items():
        with Image.open(picture) as image:
            options = EXACT if exact else LOSSY
            written.append(images.save(_place(asset, size, exact, folder), image.convert("RGB"), **options))
    return written


def _place(asset: str, size: int, exact: bool, folder: Path = FOLDER) -> Path:
    kind = str(size or drawn.PHOTO_SIZE) + ("" if exact else "-lossy")
    return folder / kind / f"{Path(asset).stem}.webp"
