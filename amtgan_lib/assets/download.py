"""One file from its pinned address: bounded in size and in tries.

Each try starts from zero: the largest file of the table has 4.1 MB. pooch would write as many bytes as a server sends.
"""

import http.client
import socket
import time
import urllib.error
import urllib.request

from amtgan_lib.assets.catalogue import MIRROR_VARIABLE, Asset, AssetError

TRIES = 4  # connections for one file
PAUSE_SECONDS = 0.5  # before the second try, twice as long before each later one
TIMEOUT_SECONDS = 30.0
TOO_MANY = 429


def download(asset: Asset) -> bytes:
    """The bytes at the address of an asset, as many as the table says and not verified.

    Raises `AssetError` where they cannot be had, and where the server has a file of another size.
    """
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            return _read(asset)
        except (OSError, http.client.HTTPException) as error:
            reason, again = _reason(error)
            if not again:
                break
    raise AssetError(
        f"{asset.relative} is not at hand and could not be downloaded ({reason}): set {MIRROR_VARIABLE} to a "
        "mirror folder, go online, or bring a copy with `python -m amtgan_lib assets import FILE`."
    )


def _read(asset: Asset) -> bytes:
    """One connection."""
    with urllib.request.urlopen(asset.url, timeout=TIMEOUT_SECONDS) as response:
        length = response.headers.get("Content-Length")
        if length is not None and int(length) != asset.bytes:
            raise AssetError(
                f"{asset.url} offers {length} bytes where the table says {asset.bytes}: "
                "this is not the pinned file and was refused."
            )
        content = response.read(asset.bytes)
    if len(content) < asset.bytes:
        raise ConnectionError("the connection was cut")
    return content


def _reason(error: OSError | http.client.HTTPException) -> tuple[str, bool]:
    """What went wrong, and whether another try makes sense."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code}", error.code >= 500 or error.code == TOO_MANY
    if isinstance(error, urllib.error.URLError):
        # An unknown name or a port that nobody serves means offline: waiting does not help.
        return str(error.reason), not isinstance(error.reason, socket.gaierror | ConnectionRefusedError)
    return str(error) or type(error).__name__, True
