"""Nothing of anybody is in the repository or leaves the machine: no secrets, no photos of people, no calls home."""

import functools
import ipaddress
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import fakes
import numpy as np
import pytest

from amtgan_lib import __main__ as command_line
from amtgan_lib import assets, images, paths
from amtgan_lib.demos import session, widgets
from amtgan_lib.demos.session import gallery, kits
from amtgan_lib.methods import natural
from amtgan_lib.pipeline import report, runs

# Where pictures may be: drawn people, and figures that `make results` draws from stored rows.
DRAWN = ("amtgan_lib/datasets/pictures/*.webp", "results/figures/*.png")
# How files of pictures, films and camera files begin.
PICTURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"8BPS",
    b"\0\0\0\x0cjP  ",
    b"\x1aE\xdf\xa3",
)
# And pictures as text, in notebooks, pages and programs: JPEG, PNG, GIF and WebP in base64.
EMBEDDED = re.compile(
    rb"/9j/[A-Za-z0-9+/]{60}|iVBORw0KGgo[A-Za-z0-9+/]{60}|R0lGOD[A-Za-z0-9+/]{60}|UklGR[A-Za-z0-9+/]{60}"
)
SECRETS = {
    "a private key": rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a key of AWS": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token of GitHub": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50,})",
    "a token of Hugging Face": rb"\bhf_[A-Za-z0-9]{30,}\b",
    "a token of Slack": rb"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a key of Google": rb"\bAIza[0-9A-Za-z_-]{35}\b",
    "a key of a model service": rb"\bsk-(?:[a-z]+-)*[A-Za-z0-9_]{32,}\b",
    "a signed token": rb"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "a password": rb"""(?i)\b(?:api_?(?:key|secret)|passw(?:or)?d|secret)["']?\s*[:=]\s*["'][A-Za-z0-9+/_-]{16,}["']""",
    "a path in somebody's home": rb"(?:/home|/Users)/[a-z]\w+",
    "a password in an address": rb"\b[a-z]+://[^\s/:@\"'<>{}$]+:[^\s/:@\"'<>{}$]+@[a-z0-9.-]+",
}
LARGEST_TEXT = 5_000_000  # bytes


def is_picture(head: bytes) -> bool:
    return head.startswith(PICTURES) or head[8:12] == b"WEBP" or head[4:8] == b"ftyp"


def complaints(name: str, content: bytes) -> list[str]:
    """What of a file must not be in the repository."""
    if is_picture(content[:16]):
        return [] if any(fnmatch(name, pattern) for pattern in DRAWN) else ["a picture that is not known to be drawn"]
    if b"\0" in content[:8192] or len(content) > LARGEST_TEXT:  # weights and tables of numbers
        return []
    found = [what for what, pattern in SECRETS.items() if re.search(pattern, content)]
    return found + ["a picture as text"] * bool(EMBEDDED.search(content))


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=paths.ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("this is no checkout")
    return [Path(name) for name in listed.stdout.decode().split("\0") if name and (paths.ROOT / name).is_file()]


def test_the_repository_holds_no_secret_and_no_photo(tracked):
    found = {str(name): complaints(name.as_posix(), (paths.ROOT / name).read_bytes()) for name in tracked}
    assert {name: what for name, what in found.items() if what} == {}


def test_every_drawn_picture_is_in_the_format_of_its_place(tracked):
    """A photo under the name of a drawn picture would be larger: each is of the few sizes that drawings have."""
    drawn = [name for name in tracked if fnmatch(name.as_posix(), DRAWN[0])]
    assert len(drawn) > 20
    assert {name.parent.name for name in drawn} <= {"160", "160-lossy", "384"}
    assert all(re.fullmatch(r"p\d{4}-m\w+-s\d{4}\.webp", name.name) for name in drawn)


# Written in two parts, so that this file has none of them.
LEAKS = {
    "a/key.pem": b"-----BEGIN RSA " + b"PRIVATE KEY-----",
    "a.py": b"token = 'ghp_" + b"a" * 36 + b"'",
    "b.ipynb": b'"hf_' + b"b" * 34 + b'"',
    "c.yaml": b"password: '" + b"hunter2hunter2hunter2'",
    "d.md": b"https://ann:" + b"secret@example.org/x",
    "run.json": b"/home/" + b"ann/holiday/me.jpg",
    "e.txt": b"AKIA" + b"ABCDEFGHIJKLMNOP",
    "me.jpg": b"\xff\xd8\xff\xe0" + bytes(100),
    "docs/me.png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "amtgan_lib/weights/face": b"RIFF\0\0\0\0WEBP" + bytes(100),
    "clip.mp4": b"\0\0\0\x18ftypisom" + bytes(100),
    "report.html": b"data:image/jpeg;base64,/9j/" + b"4AAQSkZJRg" * 8,
    "out.ipynb": b'"image/png": "iVBORw0KGgo' + b"AAAANSUhEU" * 8,
}


@pytest.mark.parametrize("name", LEAKS)
def test_each_kind_of_leak_is_found(name):
    assert complaints(name, LEAKS[name])


def test_what_is_no_leak_passes():
    assert complaints("a.py", b"password = getpass()\nkey = os.environ['API_KEY']\nhttps://example.org/a@b") == []
    assert complaints("results/figures/a.png", LEAKS["docs/me.png"]) == []


# ---------------------------------------------------------------- calls home


def test_make_lab_asks_nobody_for_news_updates_or_extensions():
    labapp = pytest.importorskip("jupyterlab.labapp")
    told = subprocess.run(["make", "-n", "lab", "VENV=x"], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    words = shlex.split(next(line for line in told.stdout.splitlines() if "-m jupyterlab" in line))
    app = labapp.LabApp()
    app.parse_command_line([word for word in words if word.startswith("--LabApp.")])
    assert app.news_url is None and app.extension_manager == "readonly"
    written = next(line for line in told.stdout.splitlines() if "overrides.json" in line)
    settings = json.loads(written[written.index("{") : written.rindex("}") + 1])
    assert settings == {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    assert app.check_for_updates_class.__name__ == "NeverCheckForUpdate"


# What is asked of the network is refused, and noted, while there is a list for it. A hook cannot be taken away again.
ASKED: list[list[str]] = []
CALLS = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}


def _refuse(event: str, arguments: tuple) -> None:
    if not ASKED or event not in CALLS:
        return
    address = arguments[CALLS[event]]
    host = address[0] if isinstance(address, tuple) else address
    internet = arguments[0].family.name in ("AF_INET", "AF_INET6") if CALLS[event] else host is not None
    if internet and not _is_here(host):
        ASKED[-1].append(f"{event} {host}")
        raise ConnectionRefusedError(f"{event} {host}")


def _is_here(host: str | bytes) -> bool:
    host = host.decode() if isinstance(host, bytes) else host
    try:
        return host in ("", "localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


sys.addaudithook(_refuse)


@pytest.fixture
def asked(tmp_path, monkeypatch) -> Iterator[list[str]]:
    """Who was asked, on a machine where nothing has been fetched; each call that leaves the machine fails."""
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("AMTGAN_ASSET_MIRROR", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(natural, "Search", functools.partial(natural.Search, steps=2, rate=0.8))
    monkeypatch.setattr(session, "drawn_kit", lambda: fakes.few_steps(kits.drawn_kit()))
    monkeypatch.setattr(gallery, "LARGE", 160)
    ASKED.append([])
    yield ASKED[-1]
    ASKED.pop()


def _photo() -> Path:
    path = Path("me.png")
    images.open_photo(session.people((3,))[0].small).original.save(path)
    return path


def _protecting() -> None:
    assert command_line.main(["protect", str(_photo()), "--keep-recognised"]) in (0, 1, 3)
    assert Path("me_protected.png").is_file()


def _evaluating() -> None:
    assert command_line.main(["evaluate", str(_photo()), "me.png"]) == 1


def _filming() -> None:
    from test_video import make

    clip = make(Path("clip.mp4"), [np.asarray(images.open_photo(_photo()).rgb)] * 2)
    assert command_line.main(["video", str(clip)]) == 0


def _opening() -> None:
    desk = widgets.Quickstart(widgets.Begin())
    desk.pace.finish()
    assert desk.picture is not None


def _reporting() -> None:
    folder = Path("run").absolute()
    with runs.edit(folder) as state:
        state |= {"run_id": "r", "preset": "small", "status": "done", "notebooks": {}, "values": {}}
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", report.write(folder).read_text(encoding="utf-8"))


@pytest.mark.parametrize("work", [_protecting, _evaluating, _filming, _opening, _reporting])
def test_nothing_leaves_the_machine(asked, work: Callable[[], None]):
    pytest.importorskip("mediapipe")
    work()
    assert asked == []


def test_a_download_is_noticed_and_refused(asked):
    with pytest.raises(assets.AssetError, match="could not be downloaded"):
        assets.fetch(assets.find(group="weights")[0])
    assert asked == ["socket.getaddrinfo raw.githubusercontent.com"]
