"""Photographs and weights that are pinned by sha256: find them, fetch them, import them.

Nothing of these files is part of the package. They come from the cache folder, from a mirror folder
(environment variable `AMTGAN_ASSET_MIRROR`, layout `<owner>/<repo>/<commit>/<path>`) or from their pinned address,
and no file is given out before its hash was found right.
"""

from amtgan_lib.assets.archive import import_archive, published, published_weights
from amtgan_lib.assets.catalogue import Asset, AssetError, UnknownAsset, find, get, groups, mirror, table
from amtgan_lib.assets.store import available, fetch, fetch_many, local, verify
