"""One file from its pinned address into its `.part` file: resumable, bounded in size and in tries.

Not by pooch, which begins an interrupted download anew and writes as many bytes as a server sends.
"""

import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from amtgan_lib.assets.catalogue import MIRROR_VARIABLE, Asset, AssetError

TRIES = 4  # connections for one file; each continues where the one before was cut
PAUSE_SECONDS = 0.5  # before the second try, twice as long before each later one
TIMEOUT_SECONDS = 30.0
CHUNK = 1 << 16
PARTIAL, RANGE_REFUSED, TOO_MANY = 206, 416, 429


class _Interrupted(Exception):
    """The network failed: what it said, and whether another try makes sense."""

    def __init__(self, reason: str, again: bool = True):
        super().__init__(reason)
        self.again = again


def download(asset: Asset, part: Path, advance: Callable[[int], object]) -> None:
    """Complete `part` from where it ends; `advance` is told of every byte that came nearer to the end.

    The size is right afterwards, the bytes are not verified. Raises `AssetError` where the file cannot be had: what
    arrived stays in `part` for the next call, unless the server has a file of another size.
    """
    if _size(part) > asset.bytes:
        part.unlink()
    advance(_size(part))
    reason = "the connection was cut"
    for attempt in range(TRIES):
        if _size(part) == asset.bytes:
            return
        if attempt:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            _continue(asset, part, advance)
        except _Interrupted as error:
            reason = str(error)
            if not error.again:
                break
        except AssetError:
            part.unlink()
            raise
    if _size(part) != asset.bytes:
        if _size(part) == 0:
            part.unlink(missing_ok=True)
        raise AssetError(
            f"{asset.relative} is not at hand and could not be downloaded ({reason}): set {MIRROR_VARIABLE} to a "
            "mirror folder, go online, or bring a copy with `python -m amtgan_lib assets import FILE`."
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _continue(asset: Asset, part: Path, advance: Callable[[int], object]) -> None:
    """One connection; a server that knows no ranges begins anew, over the bytes that are there."""
    done = _size(part)
    part.touch()
    with part.open("r+b") as file:
        for position, chunk in _chunks(asset, done):
            file.seek(position)
            file.write(chunk)
            end = position + len(chunk)
            advance(max(0, end - done))
            done = max(done, end)


def _chunks(asset: Asset, offset: int) -> Iterator[tuple[int, bytes]]:
    """What the server sends, with its position in the file: from `offset`, or from 0 where it ignores the range."""
    request = urllib.request.Request(asset.url, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            position = offset if response.status == PARTIAL else 0
            _check_size(asset, position, response.headers.get("Content-Length"))
            while chunk := response.read(min(CHUNK, asset.bytes - position)):
                yield position, chunk
                position += len(chunk)
    except urllib.error.HTTPError as error:
        if error.code == RANGE_REFUSED:
            raise AssetError(f"{asset.url} ends before byte {offset} of {asset.bytes}: it was refused.") from error
        again = error.code >= 500 or error.code == TOO_MANY
        raise _Interrupted(f"the server answered {error.code}", again) from error
    except urllib.error.URLError as error:
        # A name that is not known or a port that nobody serves means offline, and waiting does not help.
        again = not isinstance(error.reason, (socket.gaierror, ConnectionRefusedError))
        raise _Interrupted(str(error.reason), again) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error


def _check_size(asset: Asset, position: int, length: str | None) -> None:
    if length is not None and position + int(length) != asset.bytes:
        raise AssetError(
            f"{asset.url} offers {position + int(length)} bytes where the table says {asset.bytes}: "
            "this is not the pinned file and was refused."
        )
