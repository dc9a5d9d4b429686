"""Where the files are: the cache folder, then the mirror in place, then the pinned address; verified every time."""

import hashlib
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from amtgan_lib import paths
from amtgan_lib.assets.catalogue import Asset, AssetError, find, get, mirror
from amtgan_lib.assets.download import download
from amtgan_lib.files import sha256_of, written

WORKERS = 4  # files at once: small files spend their time waiting for the server, not for the line

_announced: set[str] = set()  # licences that this process has printed, or found to be printed before


def fetch(asset: Asset | str, progress: bool = True) -> Path:
    """The verified file of an asset, or of the asset with this name; downloaded where it is not at hand.

    A file of the mirror is used in place. Raises `AssetError` where the file cannot be had or has the wrong hash.
    """
    return fetch_many([get(asset) if isinstance(asset, str) else asset], progress)[0]


def fetch_many(assets: Iterable[Asset], progress: bool = True) -> list[Path]:
    """The verified files of many assets, in their order, with one progress bar over all bytes if any is downloaded."""
    from tqdm.auto import tqdm

    wanted = list(assets)
    total = sum(asset.bytes for asset in wanted)
    # In a notebook a bar is eleven widgets, shown or not: thousands of calls for files at hand would store megabytes.
    quiet = not progress or all(local(asset) for asset in wanted)
    with tqdm(total=total, unit="B", unit_scale=True, desc="assets", delay=1.0, disable=quiet) as bar:
        files = _obtain_all(wanted, bar.update)
    _announce_licences(wanted)
    return files


def _obtain_all(assets: list[Asset], advance: Callable[[int], object]) -> list[Path]:
    if len(assets) == 1:
        return [_obtain(assets[0], advance)]
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            return list(pool.map(lambda asset: _obtain(asset, advance), assets))
        except BaseException:  # one failure, or Ctrl-C: what is not begun is not begun any more
            pool.shutdown(cancel_futures=True)
            raise


def available(group: str | None = None) -> list[Asset]:
    """The assets of a group (None: of all) that are at hand without a network; `fetch` verifies them."""
    return [asset for asset in find(group=group) if local(asset)]


def local(asset: Asset) -> Path | None:
    """The file in the cache or in the mirror, not verified; None where there is neither."""
    return next((path for path in _places(asset) if path.is_file()), None)


def verify(group: str | None = None) -> tuple[int, list[str]]:
    """Hash every file at hand, in the cache and in the mirror: how many were right, and a sentence for each other."""
    complaints = [_complaint(asset, path) for asset in find(group) for path in _places(asset) if path.is_file()]
    return complaints.count(""), [complaint for complaint in complaints if complaint]


def cache_path(asset: Asset) -> Path:
    """Where the cache keeps an asset, whether it is there or not."""
    return paths.CACHE / "assets" / asset.relative


def _places(asset: Asset) -> list[Path]:
    folder = mirror()
    return [cache_path(asset)] + ([folder / asset.relative] if folder else [])


def _obtain(asset: Asset, advance: Callable[[int], object]) -> Path:
    path = local(asset)
    if path is None and asset.imported:
        raise AssetError(f"{cache_path(asset)} is gone: import the archive that it came from again.")
    path = path or _download(asset)
    advance(asset.bytes)
    if complaint := _complaint(asset, path):
        raise AssetError(complaint)
    return path


def _complaint(asset: Asset, path: Path) -> str:
    """What was expected and what was found; empty for the right file."""
    if (size := path.stat().st_size) != asset.bytes:
        return f"{path} has {size} bytes where the table says {asset.bytes}: remove it and fetch it again."
    if (sha256 := sha256_of(path)) != asset.sha256:
        return f"{path} has sha256 {sha256} where the table says {asset.sha256}: remove it and fetch it again."
    return ""


def _download(asset: Asset) -> Path:
    """The file in the cache, written whole or not at all, and of the right bytes only."""
    final = cache_path(asset)
    lock = paths.CACHE / "locks" / asset.sha256
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        # The processes of one training run ask for the same weights at once: one downloads, the others wait.
        with FileLock(lock):
            if not final.is_file():
                content = download(asset)
                if (sha256 := hashlib.sha256(content).hexdigest()) != asset.sha256:
                    raise AssetError(
                        f"{asset.url} sent sha256 {sha256} where the table says {asset.sha256}: "
                        "the file was refused and removed; try again, and report it if it stays so."
                    )
                with written(final) as partial:
                    partial.write_bytes(content)
    except OSError as error:
        advice = "make room there, or name another folder in AMTGAN_CACHE"
        raise AssetError(f"The cache folder {paths.CACHE} cannot be written ({error}): {advice}.") from error
    return final


def _announce_licences(assets: list[Asset]) -> None:
    """Print each repository's licence on stderr before its first use, and remember that it was printed."""
    lines = list(dict.fromkeys(f"{asset.repository}: {asset.licence} ({asset.home})" for asset in assets))
    if _announced.issuperset(lines):
        return
    record = paths.CACHE / "licences-shown.txt"
    # If the cache cannot be read or written, the next process prints the licence again.
    with suppress(OSError):
        _announced.update(record.read_text(encoding="utf-8").splitlines())
    for line in [line for line in lines if line not in _announced]:
        print(f"Licence of {line}", file=sys.stderr)
        with suppress(OSError):
            record.parent.mkdir(parents=True, exist_ok=True)
            with record.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    _announced.update(lines)
