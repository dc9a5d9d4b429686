"""One file from its pinned address: bounded in size and in tries.

Each try begins anew: the largest file of the table has 4.1 MB. Not by pooch, which writes as many bytes as a server
sends.
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


class _Interrupted(Exception):
    """The network failed: what it said, and whether another try makes sense."""

    def __init__(self, reason: str, again: bool = True):
        super().__init__(reason)
        self.again = again


def download(asset: Asset) -> bytes:
    """The bytes at the address of an asset, as many as the table says and not verified.

    Raises `AssetError` where they cannot be had, and where the server has a file of another size.
    """
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            return _read(asset)
        except _Interrupted as error:
            reason = str(error)
            if not error.again:
                break
    raise AssetError(
        f"{asset.relative} is not at hand and could not be downloaded ({reason}): set {MIRROR_VARIABLE} to a "
        "mirror folder, go online, or bring a copy with `python -m amtgan_lib assets import FILE`."
    )


def _read(asset: Asset) -> bytes:
    """One connection."""
    try:
        with urllib.request.urlopen(asset.url, timeout=TIMEOUT_SECONDS) as response:
            length = response.headers.get("Content-Length")
            if length is not None and int(length) != asset.bytes:
                raise AssetError(
                    f"{asset.url} offers {length} bytes where the table says {asset.bytes}: "
                    "this is not the pinned file and was refused."
                )
            content = response.read(asset.bytes)
    except urllib.error.HTTPError as error:
        again = error.code >= 500 or error.code == TOO_MANY
        raise _Interrupted(f"the server answered {error.code}", again) from error
    except urllib.error.URLError as error:
        # A name that is not known or a port that nobody serves means offline, and waiting does not help.
        again = not isinstance(error.reason, (socket.gaierror, ConnectionRefusedError))
        raise _Interrupted(str(error.reason), again) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error
    if len(content) < asset.bytes:
        raise _Interrupted("the connection was cut")
    return content
