"""Draw the pictures of the README: sixteen people and one of them in eight makeups; six in natural looks.

.venv/bin/python -m benchmarks.contact_sheet
"""

import numpy as np
from PIL import Image

from amtgan_lib import images, paths, portraits, recognizers
from amtgan_lib.methods import Guide, natural, targets
from amtgan_lib.protection import Protector

SIDE = 144
MODEL = 107  # the person who wears the makeups
SITTERS, WEARERS = (11, 101, 31, 107, 40, 112), (1003, 1012, 1044, 1050, 1060, 1071)  # people in natural looks, makeups
LARGE, WIDE = 384, 1280


def crowd() -> np.ndarray:
    """Sixteen people, and one of them in eight makeups, as the pixels of a picture."""
    people, looks = portraits.people(range(100, 116)), portraits.makeups(range(8))
    bare = portraits.draw(people, portraits.no_makeup(16), portraits.scenes(range(16), variety=0.8), SIDE)
    calm = portraits.scenes([0] * 8, variety=0.25)
    worn = portraits.draw(portraits.people([MODEL] * 8), looks, calm, SIDE)
    tiles = [images.to_uint8(image) for image in (*bare.image, *worn.image)]
    return np.concatenate([np.concatenate(tiles[start : start + 8], axis=1) for start in range(0, len(tiles), 8)])


def natural_looks() -> np.ndarray:
    """Six people, below them each in a natural look, bare and in makeup, as the pixels of a picture."""
    networks = [recognizers.load(name) for name in recognizers.DRAWN]
    protector = Protector(natural.method(Guide(networks, targets.nobody(networks))))
    scenes = portraits.scenes(SITTERS, variety=0.3)
    people = portraits.draw(portraits.people(SITTERS), portraits.no_makeup(len(SITTERS)), scenes, LARGE).image
    worn = portraits.makeups(range(3, 3 + len(SITTERS)))
    references = portraits.draw(portraits.people(WEARERS), worn, portraits.scenes(WEARERS, variety=0.2), LARGE).image
    rows = [[], [], []]
    for photo, reference in zip(images.to_uint8(people), images.to_uint8(references)):
        results = protector.protect(photo), protector.protect(photo, Image.fromarray(reference))
        for row, picture in zip(rows, (photo, *(np.asarray(each.image) for each in results))):
            row.append(picture)
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def main() -> None:
    """Write both pictures."""
    images.save(paths.FIGURES / "portraits.png", Image.fromarray(crowd()), optimize=True)
    sheet = Image.fromarray(natural_looks())
    images.save(paths.FIGURES / "natural.png", sheet.resize((WIDE, WIDE * sheet.height // sheet.width)), optimize=True)


if __name__ == "__main__":
    main()
