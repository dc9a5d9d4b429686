"""The makeup photographs of MT and LADN, which their authors give out as archives.

No hash of them is published, so they are known by their folders and kept in the cache with the sha256 that was found.
MT (BeautyGAN, PSGAN, AMT-GAN): `images/{makeup,non-makeup}/NAME.png`, parse maps of the same names in `segs/`,
`parsing/` or `seg1/`. LADN: `makeup/{after,before}/NAME.jpg`. Whatever lies around these folders does not matter.
"""

import csv
from collections.abc import Iterable
from pathlib import PurePosixPath

from amtgan_lib.assets.catalogue import MANIFEST_COLUMNS, Asset, imported, imported_table
from amtgan_lib.files import written

KINDS = ("makeup", "non-makeup")
# Last two folders of a file -> data set and folder in the cache.
PLACES = {
    **{("images", kind): ("mt", f"images/{kind}") for kind in KINDS},
    **{(maps, kind): ("mt", f"segs/{kind}") for maps in ("segs", "parsing", "seg1") for kind in KINDS},
    ("makeup", "after"): ("ladn", "images/makeup"),
    ("makeup", "before"): ("ladn", "images/non-makeup"),
}
ENDINGS = (".png", ".jpg", ".jpeg")
LICENCES = {"mt": "MT data set, research only", "ladn": "LADN data set, research only"}


def asset_for(name: str, size: int, sha256: str) -> Asset | None:
    """The asset that a file of ``size`` bytes becomes by its place in an archive; None for all other files."""
    path = PurePosixPath(name)
    data_set, folder = PLACES.get(path.parts[-3:-1], ("", ""))
    if not data_set or path.suffix.lower() not in ENDINGS:
        return None
    role = "parsing mask" if folder.startswith("segs") else "makeup photo"
    facts = {"licence": LICENCES[data_set], "role": role, "group": "", "pinned": False}
    return Asset(f"imported/{data_set}", "archive", f"{folder}/{path.name}", size, sha256, **facts)


def record(assets: Iterable[Asset]) -> None:
    """Add assets to the table of the imported ones, in the place of older files of the same names."""
    rows = {asset.relative: asset for asset in (*imported(), *assets)}
    with written(imported_table()) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, MANIFEST_COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(map(vars, rows.values()))
