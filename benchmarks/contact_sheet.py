"""Draw the picture at the top of the README: sixteen people, and one of them in eight makeups.

.venv/bin/python -m benchmarks.contact_sheet [file]
"""

import sys

import numpy as np
from PIL import Image

from amtgan_lib import images, paths, portraits

SIDE = 144
MODEL = 107  # the person who wears the makeups


def main(file: str) -> None:
    """Write the picture to ``file``."""
    people, looks = portraits.people(range(100, 116)), portraits.makeups(range(8))
    crowd = portraits.draw(people, portraits.no_makeup(16), portraits.scenes(range(16), variety=0.8), SIDE)
    calm = portraits.scenes([0] * 8, variety=0.25)
    worn = portraits.draw(portraits.people([MODEL] * 8), looks, calm, SIDE)
    tiles = [images.to_uint8(image) for image in (*crowd.image, *worn.image)]
    rows = [np.concatenate(tiles[start : start + 8], axis=1) for start in range(0, len(tiles), 8)]
    images.save(file, Image.fromarray(np.concatenate(rows)), optimize=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(paths.FIGURES / "portraits.png"))
