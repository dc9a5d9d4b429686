"""The assets: a tiny table, a server on this machine, no other network."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import pytest

from amtgan_lib import assets, paths
from amtgan_lib.assets import archive, catalogue, download, store

COMMIT = "c" * 40
COLUMNS = ("group", "name", "repository", "commit", "path", "bytes", "sha256", "licence", "role")
PHOTO, TEM, MASK, WEIGHTS = "inst/neutral_front/001_03.jpg", "inst/neutral_front/001_03.tem", "seg/a b.png", "w/net.pt"
CONTENT = {
    PHOTO: os.urandom(300_000),
    TEM: b"189\n",
    MASK: os.urandom(1_000),
    WEIGHTS: os.urandom(200_000),
}
GROUP = {PHOTO: "london", TEM: "london", MASK: "mt_masks", WEIGHTS: "weights"}


def row(path: str, content: bytes, **facts: str) -> dict:
    owner = "lab/nets" if path == WEIGHTS else "lab/photos"
    known = {"group": GROUP.get(path, ""), "name": "net" if path == WEIGHTS else "", "repository": owner}
    known |= {"commit": COMMIT, "path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return known | {"licence": "MIT" if path == WEIGHTS else "CC-BY-4.0", "role": "test"} | facts


def write_rows(file: Path, rows: list[dict], columns: tuple[str, ...] = COLUMNS) -> None:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(autouse=True)
def shop(tmp_path, monkeypatch):
    """A pinned table of four files, an empty cache, no mirror, and an address where nobody listens."""
    write_rows(tmp_path / "table.csv", [row(path, content) for path, content in CONTENT.items()])
    monkeypatch.setattr(catalogue, "PINNED_TABLE", tmp_path / "table.csv")
    monkeypatch.setattr(catalogue, "URL_BASE", "http://127.0.0.1:9")
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    monkeypatch.delenv(catalogue.MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    """What a new process would not know."""
    catalogue._table.cache_clear()
    store._announced.clear()


def asset_at(path: str) -> assets.Asset:
    return assets.find(path_glob=path)[0]


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; `self.server.plan` holds what goes wrong, one entry a request."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        wrong = server.plan.pop(0) if server.plan else {}
        content = server.content[unquote(self.path).split(f"/{COMMIT}/")[1]]
        time.sleep(wrong.get("delay", 0.0))
        if "status" in wrong:
            return self.send_error(wrong["status"])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: wrong.get("cut_after", len(content))])

    def log_message(self, *arguments):
        """Say nothing: the captured stderr is under test."""


@pytest.fixture
def server(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        web.content, web.plan, web.asked = dict(CONTENT), [], []
        threading.Thread(target=web.serve_forever, daemon=True).start()
        monkeypatch.setattr(catalogue, "URL_BASE", f"http://127.0.0.1:{web.server_port}")
        yield web
        web.shutdown()


@pytest.fixture
def mirror_folder(shop, monkeypatch):
    """A mirror of all four files."""
    folder = shop / "mirror"
    for asset in assets.table():
        put(folder, asset.relative, CONTENT[asset.path])
    monkeypatch.setenv(catalogue.MIRROR_VARIABLE, str(folder))
    return folder


def put(folder: Path, relative: str, content: bytes) -> Path:
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def cached_files() -> list[str]:
    return sorted(path.name for path in (paths.CACHE / "assets").rglob("*") if path.is_file())


# The table


def test_find_filters_and_get_knows_names():
    assert [a.path for a in assets.find(group="london")] == [PHOTO, TEM]
    assert [a.path for a in assets.find(path_glob="*/neutral_front/*.jpg")] == [PHOTO]
    assert assets.find(group="london", path_glob="*.png") == []
    assert assets.get("net").path == WEIGHTS
    assert assets.get("net").url == f"http://127.0.0.1:9/lab/nets/{COMMIT}/w/net.pt"
    assert asset_at(MASK).url.endswith("/seg/a%20b.png")


def test_unknown_names_and_groups_are_refused_with_a_hint():
    with pytest.raises(assets.UnknownAsset, match="did you mean 'net'"):
        assets.get("nett")
    with pytest.raises(assets.UnknownAsset, match="the names are net"):
        assets.get("")
    with pytest.raises(assets.UnknownAsset, match="the groups are london, mt_masks, weights"):
        assets.find(group="londn")


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "../../../../x.jpg"},
        {"path": "/x.jpg"},
        {"path": "a\\..\\x.jpg"},
        {"sha256": "12ab"},
        {"bytes": "many"},
    ],
)
def test_a_row_that_is_none_is_refused(shop, wrong):
    write_rows(shop / "table.csv", [row(PHOTO, b"1"), row(PHOTO, b"1") | wrong])
    with pytest.raises(assets.AssetError, match=r"Line 3 of .*table.csv is no row"):
        assets.table()


def test_a_mirror_adds_photographs_but_never_weights(mirror_folder):
    other = "inst/neutral_front/002_03.jpg"
    listed = [row(other, b"second person"), row("elsewhere/x.png", b"x"), row("w/evil.pt", b"e", role="face photo")]
    # A manifest that lists a pinned photo or pinned weights with other bytes changes nothing either.
    listed += [row(PHOTO, b"not this"), row(WEIGHTS, b"nor this")]
    write_rows(mirror_folder / "MANIFEST.csv", listed, tuple(c for c in COLUMNS if c not in ("group", "name")))
    put(mirror_folder, f"lab/photos/{COMMIT}/{other}", b"second person")
    forget()
    added = [a for a in assets.table() if not a.pinned]
    assert [(a.path, a.group, a.name) for a in added] == [(other, "london", ""), ("elsewhere/x.png", "other", "")]
    assert assets.fetch(added[0], progress=False).read_bytes() == b"second person"
    assert assets.get("net").sha256 == hashlib.sha256(CONTENT[WEIGHTS]).hexdigest()
    assert assets.fetch("net").read_bytes() == CONTENT[WEIGHTS]
    assert {a.path for a in assets.available("london")} == {PHOTO, TEM, other}


def test_a_photograph_of_the_mirror_is_verified_against_its_manifest(mirror_folder):
    other = "inst/neutral_front/002_03.jpg"
    write_rows(mirror_folder / "MANIFEST.csv", [row(other, b"second person")])
    put(mirror_folder, f"lab/photos/{COMMIT}/{other}", b"SECOND person")
    forget()
    with pytest.raises(assets.AssetError, match=r"has sha256 .* where the table says"):
        assets.fetch(asset_at(other))


def test_a_mirror_that_is_no_folder_is_said(monkeypatch, shop):
    monkeypatch.setenv(catalogue.MIRROR_VARIABLE, str(shop / "nowhere"))
    with pytest.raises(assets.AssetError, match=r"AMTGAN_ASSET_MIRROR is '.*nowhere', which is not a folder"):
        assets.fetch("net")


# Files at hand


def test_the_mirror_is_used_in_place_and_hashed_once(mirror_folder, monkeypatch):
    digests = []
    digest = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, kind: digests.append(Path(file.name)) or digest(file, kind)
    )
    asset = asset_at(PHOTO)
    assert assets.fetch(asset) == mirror_folder / asset.relative
    assert assets.fetch(asset) == mirror_folder / asset.relative
    assert digests == [mirror_folder / asset.relative]
    assert cached_files() == []
    put(mirror_folder, asset.relative, os.urandom(len(CONTENT[PHOTO])))
    with pytest.raises(assets.AssetError, match="has sha256"):
        assets.fetch(asset)


def test_the_cache_comes_before_the_mirror(mirror_folder):
    asset = asset_at(PHOTO)
    cached = put(paths.CACHE / "assets", asset.relative, CONTENT[PHOTO])
    assert assets.fetch(asset) == cached


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_damaged_file_at_hand_is_never_given_out(mirror_folder, damage):
    asset = asset_at(PHOTO)
    cached = put(paths.CACHE / "assets", asset.relative, damage(CONTENT[PHOTO]))
    with pytest.raises(assets.AssetError, match=re.escape(str(cached)) + ".*where the table says"):
        assets.fetch(asset)


def test_available_and_verify_count_what_is_at_hand(mirror_folder):
    (mirror_folder / asset_at(TEM).relative).unlink()
    assert [a.path for a in assets.available("london")] == [PHOTO]
    assert len(assets.available()) == 3
    assert assets.verify() == (3, [])
    put(mirror_folder, asset_at(MASK).relative, b"shorter")
    right, wrong = assets.verify()
    assert right == 2
    assert len(wrong) == 1 and "7 bytes where the table says 1000" in wrong[0]
    assert assets.verify("london") == (1, [])


# Downloads


def test_download_verify_and_place(server):
    path = assets.fetch("net", progress=False)
    assert path == paths.CACHE / "assets" / assets.get("net").relative
    assert path.read_bytes() == CONTENT[WEIGHTS]
    assert assets.fetch("net") == path
    assert len(server.asked) == 1
    assert not list(paths.CACHE.rglob("*.part*"))


def test_a_cut_connection_is_tried_again(server):
    server.plan = [{"cut_after": 100_000}, {"cut_after": 50_000}]
    assert assets.fetch(asset_at(PHOTO)).read_bytes() == CONTENT[PHOTO]
    assert len(server.asked) == 3


def test_of_a_file_that_never_comes_whole_nothing_stays(server):
    server.plan = [{"cut_after": 1000}] * download.TRIES
    asset = asset_at(PHOTO)
    with pytest.raises(assets.AssetError, match="connection was cut"):
        assets.fetch(asset)
    assert cached_files() == []
    assert len(server.asked) == download.TRIES
    assert assets.fetch(asset).read_bytes() == CONTENT[PHOTO]


def test_wrong_bytes_are_refused_and_removed(server):
    server.content[WEIGHTS] = os.urandom(len(CONTENT[WEIGHTS]))
    got = hashlib.sha256(server.content[WEIGHTS]).hexdigest()
    with pytest.raises(assets.AssetError, match=f"sent sha256 {got} where the table says {assets.get('net').sha256}"):
        assets.fetch("net")
    assert cached_files() == []
    server.content[WEIGHTS] = CONTENT[WEIGHTS]
    assert assets.fetch("net").read_bytes() == CONTENT[WEIGHTS]


@pytest.mark.parametrize("size", [10, 400_000])
def test_a_file_of_another_size_is_refused_without_reading_it(server, size):
    server.content[PHOTO] = bytes(size)
    asset = asset_at(PHOTO)
    with pytest.raises(assets.AssetError, match=f"offers {size} bytes where the table says 300000"):
        assets.fetch(asset)
    assert cached_files() == []


def test_a_missing_page_is_not_asked_for_again_but_a_tired_server_is(server):
    server.plan = [{"status": 404}]
    with pytest.raises(assets.AssetError, match="the server answered 404"):
        assets.fetch("net")
    assert len(server.asked) == 1
    server.plan = [{"status": 503}, {"status": 429}]
    assert assets.fetch("net").read_bytes() == CONTENT[WEIGHTS]
    server.plan = [{"status": 500}] * 50
    with pytest.raises(assets.AssetError, match="the server answered 500"):
        assets.fetch(asset_at(MASK))
    assert len(server.plan) == 50 - download.TRIES


def test_without_mirror_and_network_one_sentence_says_what_to_do_at_once(monkeypatch, capsys):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: pytest.fail("waited"))
    with pytest.raises(assets.AssetError) as raised:
        assets.fetch("net")
    sentence = str(raised.value)
    assert "\n" not in sentence
    for hint in ("refused", "AMTGAN_ASSET_MIRROR", "go online", "python -m amtgan_lib assets import FILE"):
        assert hint in sentence
    assert capsys.readouterr().err == ""
    assert cached_files() == []


def test_many_files_come_in_order_from_all_places(server, mirror_folder):
    (mirror_folder / asset_at(PHOTO).relative).unlink()
    got = assets.fetch_many(assets.table())
    assert [path.read_bytes() for path in got] == list(CONTENT.values())
    assert got[0].is_relative_to(paths.CACHE) and got[1].is_relative_to(mirror_folder)
    assert assets.fetch_many([]) == []


def test_progress_bar_reaches_the_whole_through_cuts(server, mirror_folder, monkeypatch):
    (mirror_folder / asset_at(PHOTO).relative).unlink()
    server.plan = [{"cut_after": 50_000}, {"cut_after": 200_000}]
    steps = []
    for asset in assets.table():
        store._obtain(asset, steps.append)
    assert sum(steps) == sum(asset.bytes for asset in assets.table())
    assert min(steps) >= 0


def test_files_at_hand_need_no_progress_bar(server, mirror_folder, monkeypatch):
    """A bar is eleven widgets in a notebook; one for each of a thousand files at hand made a copy of 16 MB."""
    import tqdm.auto

    disabled, bar = [], tqdm.auto.tqdm
    monkeypatch.setattr(tqdm.auto, "tqdm", lambda **options: disabled.append(options["disable"]) or bar(**options))
    assets.fetch_many([])
    assets.fetch_many([asset_at(PHOTO)])
    (mirror_folder / asset_at(PHOTO).relative).unlink()
    assets.fetch_many([asset_at(PHOTO)])
    assert disabled == [True, True, False]


def test_two_processes_download_one_file_once(server):
    server.plan = [{"delay": 3.0}]  # long enough for the second process to find the file not there yet
    code = (
        "import pathlib, sys; from amtgan_lib import assets, paths; from amtgan_lib.assets import catalogue;"
        "catalogue.PINNED_TABLE, catalogue.URL_BASE = pathlib.Path(sys.argv[1]), sys.argv[2];"
        "paths.CACHE = pathlib.Path(sys.argv[3]); print(assets.fetch('net', progress=False))"
    )
    call = [sys.executable, "-c", code, str(catalogue.PINNED_TABLE), catalogue.URL_BASE, str(paths.CACHE)]
    root = Path(__file__).resolve().parents[1]
    both = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)]
    said = {process.communicate(timeout=400)[0].strip() for process in both}
    assert said == {str(store.cache_path(assets.get("net")))}
    assert len(server.asked) == 1


def test_a_cache_that_cannot_be_written_is_said(server, shop):
    (shop / "cache").write_text("a file where the folder should be")
    with pytest.raises(assets.AssetError, match=r"cache folder .* cannot be written"):
        assets.fetch("net")


# Licences


def test_a_licence_is_said_once_even_across_processes(mirror_folder, capsys):
    assets.fetch_many(assets.table())
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"Licence of lab/photos: CC-BY-4.0 (https://github.com/lab/photos/tree/{COMMIT})",
        f"Licence of lab/nets: MIT (https://github.com/lab/nets/tree/{COMMIT})",
    ]
    assets.fetch("net")
    forget()
    assets.fetch("net")
    assert capsys.readouterr().err == ""


def test_a_read_only_cache_hears_the_licence_again_and_goes_on(mirror_folder, shop, capsys):
    (shop / "cache").write_text("a file where the folder should be")
    for _ in range(2):
        assert assets.fetch("net").is_relative_to(mirror_folder)
        assert assets.fetch("net").is_relative_to(mirror_folder)
        assert capsys.readouterr().err.count("Licence of lab/nets") == 1
        forget()


# Imports


def make_zip(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return file


def test_import_knows_pinned_files_by_their_bytes(shop):
    packed = make_zip(shop / "any.zip", {"deep/renamed.bin": CONTENT[WEIGHTS], "notes.txt": b"hello"})
    [stored] = assets.import_archive(packed)
    assert (stored.name, stored.pinned) == (assets.get("net").relative, True)
    assert assets.fetch("net") == stored.path
    assert stored.path.read_bytes() == CONTENT[WEIGHTS]


def test_import_of_a_folder_and_of_one_file(shop):
    put(shop / "mine", f"copy/lab/photos/{COMMIT}/{PHOTO}", CONTENT[PHOTO])
    put(shop / "mine", "G.pth", b"generator")
    stored = assets.import_archive(shop / "mine")
    assert [(s.name, s.pinned) for s in stored] == [("G.pth", False), (asset_at(PHOTO).relative, True)]
    [single] = assets.import_archive(put(shop, "net.pt", CONTENT[WEIGHTS]))
    assert assets.fetch("net") == single.path


def test_one_content_at_two_places_of_the_table_is_stored_at_both(shop):
    write_rows(shop / "table.csv", [row("a/x.png", b"same"), row("b/x.png", b"same")])
    forget()
    assert len(assets.import_archive(put(shop, "x.png", b"same"))) == 2
    assert [path.read_bytes() for path in assets.fetch_many(assets.table())] == [b"same", b"same"]


def test_import_of_the_authors_archive_is_recorded_as_unpinned(shop):
    packed = make_zip(shop / "assets.zip", {"assets/models/ir152.pth": b"ir", "checkpoints/G.pth": b"g", "x.py": b""})
    stored = assets.import_archive(packed)
    assert {s.name: s.pinned for s in stored} == {"ir152.pth": False, "G.pth": False}
    assert assets.published_weights("ir152").read_bytes() == b"ir"
    assert assets.published_weights("G.pth").read_bytes() == b"g"
    facts = json.loads((paths.CACHE / "published" / "published.json").read_text())
    assert facts == assets.published()
    assert facts["G.pth"] == {
        "sha256": hashlib.sha256(b"g").hexdigest(),
        "bytes": 1,
        "imported_from": "assets.zip: checkpoints/G.pth",
    }
    assert not list(paths.CACHE.rglob("*.part*"))


def test_published_weights_that_are_missing_unknown_or_changed(shop):
    with pytest.raises(assets.AssetError, match=r"H.pth are not at hand: .*amtgan_lib assets import assets.zip"):
        assets.published_weights("H")
    with pytest.raises(assets.UnknownAsset, match=r"the names are G.pth"):
        assets.published_weights("../../etc/passwd")
    assets.import_archive(put(shop, "H.pth", b"h"))
    assets.published_weights("H").write_bytes(b"changed")
    with pytest.raises(assets.AssetError, match="has changed since its import"):
        assets.published_weights("H")


def test_no_name_in_a_zip_becomes_a_place(shop):
    evil = {"../../escaped/G.pth": b"g", "/absolute/H.pth": b"h", "..\\..\\D_A.pth": b"d"}
    stored = assets.import_archive(make_zip(shop / "evil.zip", evil))
    assert {s.path for s in stored} == {paths.CACHE / "published" / name for name in ("G.pth", "H.pth", "D_A.pth")}
    assert not (shop / "escaped").exists() and not (shop.parent / "escaped").exists()


def test_a_link_in_a_zip_is_left_out(shop):
    with zipfile.ZipFile(shop / "link.zip", "w") as packed:
        info = zipfile.ZipInfo("G.pth")
        info.external_attr = 0o120777 << 16
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(assets.AssetError, match="nothing was stored"):
        assets.import_archive(shop / "link.zip")


def test_a_member_without_a_name_is_left_out(shop):
    packed = make_zip(shop / "assets.zip", {"G.pth": b"g", "é": b""})
    packed.write_bytes(packed.read_bytes().replace("é".encode(), bytes(2)))  # names end at the first zero
    assert [each.name for each in assets.import_archive(packed)] == ["G.pth"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "not a zip", "name"])
def test_a_damaged_zip_is_one_sentence_and_leaves_nothing(shop, damage):
    packed = make_zip(shop / "assets.zip", {"G.pth": os.urandom(10_000), "é": b""})
    whole = packed.read_bytes()
    contents = {
        "cut": whole[:5_000],
        "flipped": whole[:5_000] + bytes([whole[5_000] ^ 0xFF]) + whole[5_001:],
        "not a zip": b"<html>quota exceeded</html>",
        "name": whole.replace("é".encode(), b"\xff\xff"),
    }
    packed.write_bytes(contents[damage])
    with pytest.raises(assets.AssetError, match="damaged or unreadable zip"):
        assets.import_archive(packed)
    assert not list(paths.CACHE.rglob("*.p*"))


def test_an_encrypted_zip_is_one_sentence(shop):
    packed = make_zip(shop / "assets.zip", {"G.pth": b"g"})
    content = bytearray(packed.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of the central directory
    packed.write_bytes(content)
    with pytest.raises(assets.AssetError, match=r"G.pth in .* is encrypted: unpack the zip"):
        assets.import_archive(packed)


def test_a_second_import_keeps_what_the_first_brought(shop):
    assets.import_archive(put(shop, "G.pth", b"g"))
    assets.import_archive(put(shop, "H.pth", b"h"))
    assert list(assets.published()) == ["G.pth", "H.pth"]


def test_a_wrong_file_in_the_place_of_a_pinned_one_is_refused(shop):
    put(shop / "mine", f"lab/nets/{COMMIT}/{WEIGHTS}", b"other weights")
    with pytest.raises(assets.AssetError, match=r"where the table says .*: it is not the pinned file"):
        assets.import_archive(shop / "mine")
    assert cached_files() == []


def test_two_files_of_one_published_name_are_refused(shop):
    packed = make_zip(shop / "two.zip", {"a/G.pth": b"1", "b/G.pth": b"2"})
    with pytest.raises(assets.AssetError, match=r"holds G.pth 2 times \(a/G.pth, b/G.pth\)"):
        assets.import_archive(packed)


def test_an_import_that_finds_nothing_says_so(shop):
    with pytest.raises(assets.AssetError, match="nothing was stored"):
        assets.import_archive(put(shop, "holiday.jpg", b"beach"))
    with pytest.raises(assets.AssetError, match="There is no file or folder"):
        assets.import_archive(shop / "nowhere.zip")


MT = {
    f"MT-Dataset/{folder}/{name}.png": f"{folder} {name}".encode()
    for folder, name in (
        ("images/makeup", "vFG1"),
        ("images/non-makeup", "vHX2"),
        ("segs/makeup", "vFG1"),
        ("landmarks/makeup", "vFG1"),
    )
}


def test_an_archive_of_makeup_photos_becomes_assets(shop):
    stored = assets.import_archive(make_zip(shop / "MT-Dataset.zip", {**MT, "MT-Dataset/makeup.txt": b"vFG1.png"}))
    ladn = {"makeup/after/1.jpg": b"a", "makeup/before/2.jpg": b"b", "makeup/blend/2_1.jpg": b"c", "after/3.jpg": b"d"}
    stored += assets.import_archive(make_zip(shop / "makeup.zip", ladn))
    assert [one.name.removeprefix("imported/") for one in stored] == [
        "mt/archive/images/makeup/vFG1.png",
        "mt/archive/images/non-makeup/vHX2.png",
        "mt/archive/segs/makeup/vFG1.png",
        "ladn/archive/images/makeup/1.jpg",
        "ladn/archive/images/non-makeup/2.jpg",
    ]
    assert not any(one.pinned for one in stored)
    groups = {group: len(assets.available(group)) for group in assets.groups() if "archive" in group}
    assert groups == {"mt_archive": 2, "mt_archive_masks": 1, "ladn_archive": 2}
    contents = [path.read_bytes() for path in assets.fetch_many(assets.find(group="mt_archive"))]
    assert contents == [b"images/makeup vFG1", b"images/non-makeup vHX2"]


def test_a_second_archive_replaces_files_of_its_names_and_keeps_the_rest(shop):
    assets.import_archive(make_zip(shop / "MT.zip", MT))
    assets.import_archive(make_zip(shop / "MT.zip", {"images/makeup/vFG1.png": b"better"}))
    made_up, bare = assets.fetch_many(assets.find(group="mt_archive"))
    assert made_up.read_bytes() == b"better" and bare.read_bytes() == b"images/non-makeup vHX2"


def test_a_pinned_photo_in_an_archive_of_makeup_is_stored_as_both(shop):
    stored = assets.import_archive(make_zip(shop / "MT.zip", {"images/makeup/one.png": CONTENT[MASK]}))
    assert [one.pinned for one in stored] == [True, False]
    assert assets.fetch(assets.find(group="mt_archive")[0]).read_bytes() == CONTENT[MASK]


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_an_imported_photo_that_is_damaged_is_never_given_out(shop, damage):
    [stored] = assets.import_archive(make_zip(shop / "LADN.zip", {"makeup/after/1.jpg": b"a"}))
    stored.path.unlink() if damage == "gone" else stored.path.write_bytes(b"b")
    with pytest.raises(assets.AssetError, match="import the archive" if damage == "gone" else "where the table says"):
        assets.fetch_many(assets.table()[-1:])


# The table of the package, against the mirror


@pytest.fixture
def packaged(monkeypatch):
    monkeypatch.setattr(catalogue, "PINNED_TABLE", Path(catalogue.__file__).resolve().parents[1] / "assets_table.csv")
    catalogue._table.cache_clear()
    return assets.table()


def test_the_packaged_table_is_whole(packaged):
    assert len({a.relative for a in packaged}) == len(packaged) > 900
    assert all(re.fullmatch("[0-9a-f]{40}", a.commit) and a.bytes > 0 and a.licence and a.role for a in packaged)
    named = [a.name for a in packaged if a.name]
    assert len(set(named)) == len(named)
    assert {a.name for a in packaged if a.group == "weights"} == set(named)
    assert {"mobilefacenet_foamliu", "mobilefacenet_xiaoccer", "edgeface_xs", "edgeface_xxs", "mtcnn_pnet"} <= set(
        named
    )
    counts = {group: len(assets.find(group=group)) for group in assets.groups()}
    assert counts["paper_targets"] == 8
    assert min(counts[group] for group in ("london", "celeba_hq", "mt_makeup", "mt_no_makeup", "mt_masks")) > 20


def test_the_packaged_table_says_what_the_mirror_says(mirror, packaged):
    with (mirror / "MANIFEST.csv").open(newline="") as stream:
        facts = {f"{r['repository']}/{r['commit']}/{r['path']}": r for r in csv.DictReader(stream)}
    shared = [a for a in packaged if a.relative in facts]
    assert shared
    for a in shared:
        expected = SimpleNamespace(**facts[a.relative])
        assert (str(a.bytes), a.sha256, a.licence) == (expected.bytes, expected.sha256, expected.licence)


def test_every_weight_of_the_mirror_is_right(mirror, packaged, monkeypatch):
    monkeypatch.setenv(catalogue.MIRROR_VARIABLE, str(mirror))
    forget()
    for asset in assets.available("weights"):
        assert archive.sha256_of(assets.fetch(asset)) == asset.sha256
