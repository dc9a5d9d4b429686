"""Everything that a machine with a GPU and without a network needs to train at the paper's size, in one folder.

``make gpu-pack`` fills ``gpu_pack/`` (some 40 MB at most, never committed): the prepared 256 px crops with their
pictures as JPEG, the weights of the open recognisers, golden tensors if available, and wheels of small packages that
such machines lack. There, ``python -m benchmarks.gpu_pack unpack`` writes ``data/prepared/open.npz``. Its pictures
went through a JPEG of quality 90: training on them differs slightly from training on the photographs.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from amtgan_lib import assets, paths, recognizers
from amtgan_lib.files import written

PACK = paths.ROOT / "gpu_pack"
QUALITY = 90
LARGEST = 40 * 2**20  # bytes: keeps the pack small
WHEELS = ("tyro", "docstring-parser", "typeguard")


class PackError(Exception):
    """One sentence: what is missing, and what to do."""


def pack(prepared: Path, folder: Path, golden: Path | None = None, wheels: Sequence[str] = WHEELS) -> int:
    """Replace ``folder`` and return its size in bytes; PackError if crops are missing or it grows too large."""
    if not prepared.exists():
        raise PackError(f"{prepared} is missing: run notebook 01_prepare_data of the preset open first")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pack_faces(prepared, folder / f"{prepared.stem}.npz")
    for name in recognizers.OPEN:
        asset = assets.get(recognizers.spec(name).weights)
        place = folder / "assets" / asset.relative
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(assets.fetch(asset), place)
    if golden is not None:
        shutil.copytree(golden, folder / "golden")
    if wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "--dest", str(folder / "wheels"), *wheels], check=True)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size > LARGEST:
        raise PackError(f"{folder} has {size / 2**20:.0f} MiB, which is more than {LARGEST / 2**20:.0f}")
    return size


def pack_faces(prepared: Path, file: Path) -> None:
    """Store a prepared set small: pictures as JPEG, masks as bits, all else as it is."""
    with np.load(prepared) as stored:
        arrays = dict(stored)
    pictures = [_jpeg(image) for image in arrays.pop("images")]
    masks = arrays.pop("masks")
    np.savez_compressed(
        file,
        pictures=np.frombuffer(b"".join(pictures), np.uint8),
        ends=np.cumsum([len(picture) for picture in pictures]),
        bits=np.packbits(masks),
        shape=np.array(masks.shape),
        **arrays,
    )


def unpack_faces(file: Path, prepared: Path) -> None:
    """The prepared set of a packed one, moved into place when it is complete."""
    with np.load(file) as stored:
        arrays = dict(stored)
    data, ends, bits, shape = (arrays.pop(name) for name in ("pictures", "ends", "bits", "shape"))
    starts = [0, *ends[:-1]]
    images = [np.asarray(Image.open(io.BytesIO(data[a:b].tobytes()))) for a, b in zip(starts, ends, strict=True)]
    masks = np.unpackbits(bits, count=int(shape.prod())).reshape(shape).astype(bool)
    with written(prepared) as partial:
        np.savez(partial, images=np.stack(images), masks=masks, **arrays)


def _jpeg(image: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(image).save(written, "JPEG", quality=QUALITY, subsampling=0)
    return written.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack here, or unpack there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("--set", default="open", help="name of the prepared set")
    parser.add_argument("--golden", type=Path, help="folder of golden tensors to take along")
    given = parser.parse_args(arguments)
    prepared, packed = paths.PREPARED / f"{given.set}.npz", PACK / f"{given.set}.npz"
    if given.what == "pack":
        try:
            print(f"{PACK}: {pack(prepared, PACK, given.golden) / 2**20:.1f} MiB")
        except (PackError, assets.AssetError, subprocess.CalledProcessError) as error:
            print(f"gpu-pack: {error}", file=sys.stderr)
            return 1
    elif prepared.exists():
        print(f"{prepared} is there already and stays as it is")
    elif not packed.exists():
        print(f"gpu-pack: {packed} is missing: run make gpu-pack first", file=sys.stderr)
        return 1
    else:
        unpack_faces(packed, prepared)
        print(prepared)
    return 0


if __name__ == "__main__":
    sys.exit(main())
