"""The command `protocol`: the photos of a protocol in a folder, for anybody to protect by any method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from amtgan_lib.cli.arguments import arg
from amtgan_lib.errors import WrongArguments


def protocol(
    name: Annotated[str, tyro.conf.Positional, arg("NAME")],
    folder: Annotated[Path, tyro.conf.Positional, arg("FOLDER")],
) -> int:
    """Write the photos to protect, the makeup references, and the targets' photos that a method may see, as PNG.

    FOLDER/photos holds the photos to protect; FOLDER/pairs.csv says which reference and target goes with which photo.
    `evaluate RESULTS --protocol NAME` scores the results, which must keep the names and sizes of the photos.

    Args:
        name: The protocol: drawn or open.
        folder: A new or empty folder.
    """
    from tqdm import tqdm

    from amtgan_lib import datasets

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WrongArguments(f"{folder} exists and is not an empty folder: choose another one.")
    try:
        chosen = datasets.protocol.protocol(name)
    except datasets.protocol.ProtocolError as error:
        raise WrongArguments(str(error)) from None
    chosen.export(folder, lambda items: tqdm(items, leave=False, disable=None))
    print(f"{folder / 'photos'}: {len(chosen.sources)} photos of the protocol {name} to protect; keep their names.")
    return 0
