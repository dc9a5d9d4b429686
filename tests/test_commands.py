"""`protect` and `evaluate`: which files are written, what is said, and that no status 0 hides an unprotected face."""

import functools
import io
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import tyro
from PIL import Image

from amtgan_lib import __main__ as command_line
from amtgan_lib import datasets, evaluation, faces, paths, protection, recipes, recognizers
from amtgan_lib.cli import arguments, asking, folders, outcomes
from amtgan_lib.cli import pipeline as pipeline_commands
from amtgan_lib.cli import protect as protecting
from amtgan_lib.errors import WrongArguments
from amtgan_lib.evaluation import Answer
from amtgan_lib.images import open_photo
from amtgan_lib.methods import Method, generator, natural
from amtgan_lib.models import load_generator, save_generator
from amtgan_lib.recognizers import recognizer

ROOT = Path(__file__).resolve().parents[1]
DRAWN = str(paths.WEIGHTS / "generator_drawn.safetensors")
# Drawn people, by what the drawn recognisers say of them after the drawn generator: each is 0.1 or more from another
# verdict, as PNG and as JPEG.
PROTECTED, WEAK, RECOGNISED = 33, 8, 14


def slow(*values):
    """Parameters of a test that others stand for in the quick ones."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def read_once():
    """Each recogniser is read once for all tests: reading four of them is most of what a command does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recognizers, "load", functools.cache(recognizers.load))
        yield


@pytest.fixture(scope="module")
def people():
    """Files of the drawn test people: a photo, and another one of the same person."""
    pytest.importorskip("mediapipe")
    pairs = datasets.test_pairs(datasets.manifest_of("drawn"))
    chosen = [PROTECTED, WEAK, RECOGNISED]
    names = {i: (pairs.source[i], pairs.other[i], pairs.reference[i]) for i in chosen}
    files = datasets.files([name for three in names.values() for name in three])
    return {i: tuple(files[name] for name in three) for i, three in names.items()}


@pytest.fixture
def here(people, tmp_path, monkeypatch):
    """An empty folder as the place where commands run; photos are put into it by `put`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def put(here, people):
    """Put the photo of a drawn person somewhere: put("a/b.jpg", WEAK)."""

    def place(name, person=PROTECTED, which=0, **options):
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(people[person][which]) as picture:
            picture.convert("RGB").save(path, **({"quality": 95} if path.suffix == ".jpg" else {}), **options)
        return path

    return place


@pytest.fixture
def group(here, people):
    """Two people side by side: face 1, the larger, can be protected; so can face 2."""
    with Image.open(people[PROTECTED][0]) as one, Image.open(people[WEAK][0]) as other:
        picture = Image.new("RGB", (400, 200), (120, 120, 120))
        picture.paste(one.convert("RGB").resize((200, 200)), (0, 0))
        picture.paste(other.convert("RGB").resize((140, 140)), (220, 30))
    path = here / "group.png"
    picture.save(path)
    return path


@pytest.fixture
def far_behind(here, people):
    """A person who can be protected, and far behind somebody with 6 pixels between the eyes."""
    with Image.open(people[PROTECTED][0]) as one, Image.open(people[WEAK][0]) as other:
        picture = Image.new("RGB", (260, 130), (120, 120, 120))
        picture.paste(one.convert("RGB").resize((130, 130)), (0, 0))
        picture.paste(other.convert("RGB").resize((30, 30), Image.Resampling.LANCZOS), (150, 30))
    path = here / "two.png"
    picture.save(path)
    return path


def protect(*words):
    return command_line.main(["protect", *map(str, words), "--generator", DRAWN])


def tree(folder="."):
    """Every file, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"), int)


# ---------------------------------------------------------------- one photo


def test_one_photo_is_written_beside_itself_and_named(put, capsys):
    photo = put("me.jpg")
    before = photo.read_bytes()
    assert protect("me.jpg") == 0
    assert tree() == ["me.jpg", "me_protected.png"] and photo.read_bytes() == before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", protection.ProtectionWarning)
        expected = protection.protect(photo, generator=DRAWN).image
    assert np.array_equal(pixels("me_protected.png"), np.asarray(expected, int))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "1 photo -> me_protected.png"
    assert said[1].startswith("note: this generator was trained on drawn faces: it does not protect")
    assert said[2] == "[1/1] me.jpg: 1 face protected -> me_protected.png"
    assert said[3].startswith("1 of 1 photo protected according to the 4 recognisers asked (drawn_ir, drawn_irse,")
    assert said[4] == outcomes.ESTIMATED
    assert not any("safe" in line for line in said)


def test_a_face_that_is_still_recognised_is_not_written_and_fails(put, capsys):
    put("me.png", RECOGNISED)
    assert protect("me.png", "-o", "new/folder/out.png") == 1
    assert tree() == ["me.png"] and not Path("new").exists()
    said = capsys.readouterr().out
    assert "[1/1] me.png: 1 face not protected; nothing was written" in said
    assert "0 of 1 photo protected" in said
    assert outcomes.ESTIMATED not in said
    assert "For faces still recognised, another --generator may help; --keep-recognised writes such photos" in said


@pytest.mark.parametrize(
    ("words", "ways"),
    [
        ([], "--stronger or --known with a photo that recognisers may hold"),
        (["--stronger"], "--known with a photo that recognisers may hold"),
        (["--quick"], "leaving out --quick or --known with a photo that recognisers may hold"),
    ],
)
def test_of_a_look_it_says_what_hides_better(put, capsys, monkeypatch, words, ways):
    put("me.png", RECOGNISED)
    method = natural.method
    monkeypatch.setattr(natural, "method", lambda guide, search: method(guide, natural.Search(steps=1, more=0)))
    monkeypatch.setattr(recognizers, "at_hand", lambda names: [name for name in names if name in recognizers.OWN])
    assert command_line.main(["protect", "me.png", *words]) == 1
    assert f"For faces still recognised, {ways} may help" in capsys.readouterr().out


def test_it_is_written_on_request_and_fails_all_the_same(put, capsys):
    put("me.png", RECOGNISED)
    assert protect("me.png", "--keep-recognised") == 1
    assert tree() == ["me.png", "me_protected.png"]
    assert "1 face not protected -> me_protected.png" in capsys.readouterr().out


def test_no_strength_protects_nobody(put, capsys):
    put("me.png")
    assert protect("me.png", "--strength", 0) == 1
    assert tree() == ["me.png"] and "a higher --strength may help" in capsys.readouterr().out


def test_weak_means_refused_here_and_accepted_at_a_laxer_threshold(put, capsys):
    put("me.png", WEAK)
    assert protect("me.png") == 0
    assert "1 face weak -> me_protected.png" in capsys.readouterr().out
    assert protect("me.png", "--overwrite", "--far", 0.1) == 1  # the lax threshold counts now
    assert "1 face not protected; nothing was written" in capsys.readouterr().out


def test_the_reference_and_the_strength_are_handed_on(put, people):
    put("me.png")
    put("makeup.png", PROTECTED, which=2)
    for out, words in {"own": (), "dressed": ("--reference", "makeup.png"), "less": ("--strength", 0.9)}.items():
        assert protect("me.png", "-o", f"{out}.png", *words) == 0
    own, dressed, less = (pixels(f"{name}.png") for name in ("own", "dressed", "less"))
    assert (own != dressed).any() and (own != less).any()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", protection.ProtectionWarning)
        expected = protection.protect("me.png", "makeup.png", generator=DRAWN).image
    assert np.array_equal(dressed, np.asarray(expected, int))


def test_a_photo_without_a_face_is_said_and_not_written(here, capsys):
    Image.new("RGB", (200, 200), (90, 120, 90)).save("wall.png")
    assert protect("wall.png") == 1
    assert tree() == ["wall.png"]
    assert "[1/1] wall.png: no face was found; nothing was written" in capsys.readouterr().out


def test_the_report_names_recognisers_similarities_thresholds_and_who_took_part(put, capsys):
    put("me.png", RECOGNISED)
    protect("me.png", "--report")
    said = capsys.readouterr().out.splitlines()
    (face,) = [line for line in said if line.startswith("  face 1, ")]
    assert ": not protected; visible change " in face
    about = {line.split()[0].rstrip(":"): line for line in said if line.startswith("    drawn_")}
    assert list(about) == list(recognizers.DRAWN)
    assert "drawn_ir (took part): similarity 1.00 before, " in about["drawn_ir"]
    assert "drawn_inception: similarity" in about["drawn_inception"]
    threshold = recognizers.load("drawn_inception").own_photo[0.01]
    assert about["drawn_inception"].endswith(f"; same person above {threshold:.2f}: not protected")
    assert any("a typical other photo of the person would match" in line for line in said)


def test_recognisers_are_asked_by_name(put, capsys):
    put("me.png")
    assert protect("me.png", "--ask", "drawn_ir,drawn_irse") == outcomes.UNCONFIRMED
    said = capsys.readouterr().out
    assert "the 2 recognisers asked (drawn_ir, drawn_irse)" in said
    assert "1 face protected (unconfirmed)" in said
    assert "Unconfirmed: all of them took part in making the change" in said


# ---------------------------------------------------------------- kinds of files, metadata


def exif_of(place):
    exif = Image.Exif()
    exif[0x013B] = "Ann"
    if place:
        exif.get_ifd(0x8825)[1] = "N"
        exif.get_ifd(0x8825)[2] = (51.0, 30.0, 0.0)
    return exif


@pytest.mark.parametrize("out", [slow("out.png"), "out.jpg"])
def test_exif_is_kept_unless_it_is_to_be_left_out(put, out, capsys):
    put("me.jpg", exif=exif_of(place=True))
    assert protect("me.jpg", "-o", out) == 0
    assert Image.open(out).getexif()[0x013B] == "Ann"
    assert not Image.open(out).getexif().get_ifd(0x8825)
    assert "where the photo was taken (GPS) was left out" in capsys.readouterr().out
    assert protect("me.jpg", "-o", out, "--keep-location", "--overwrite") == 0
    assert Image.open(out).getexif().get_ifd(0x8825)[2] == (51.0, 30.0, 0.0)
    assert "records where the photo was taken (GPS)" in capsys.readouterr().out
    assert protect("me.jpg", "-o", out, "--strip-metadata", "--overwrite") == 0
    assert not Image.open(out).getexif() and b"Ann" not in Path(out).read_bytes()
    assert "GPS" not in capsys.readouterr().out


def test_a_place_is_mentioned_only_where_there_is_one(put, capsys):
    put("me.jpg", exif=exif_of(place=False))
    assert protect("me.jpg") == 0
    assert "GPS" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("form", "kind"),
    [("jpg", "JPEG"), slow("webp", "WEBP"), slow("tiff", "TIFF"), slow("png", "PNG"), ("same", "JPEG")],
)
def test_the_format_is_chosen(put, form, kind):
    put("in/me.jpg")
    assert protect("in", "-o", "out", "--format", form) == 0
    (file,) = Path("out").iterdir()
    assert Image.open(file).format == kind and file.stem == "me"


def test_a_jpeg_is_judged_as_it_was_written(put, monkeypatch):
    """Not the picture in memory, but the file's own pixels."""
    put("me.png")
    seen = []
    monkeypatch.setattr(evaluation, "same_face", lambda crop, clean, written, *rest: seen.append(written) or ())
    protect("me.png", "-o", "out.jpg", "--keep-recognised")
    assert np.array_equal(seen[0].rgb, open_photo("out.jpg").rgb)


def test_a_format_that_cannot_hold_the_photo_fails_before_the_work(put, here, capsys, monkeypatch):
    monkeypatch.setattr(Method, "detect_all", lambda *args: pytest.fail("a face was looked for"))
    with Image.open(put("me.png")) as picture:
        picture.putalpha(200)
        picture.save("me.png")
    assert protect("me.png", "-o", "out.jpg") == 1
    assert tree() == ["me.png"]
    assert "transparent parts, which JPEG cannot hold" in capsys.readouterr().out


def test_an_opaque_screenshot_becomes_a_jpeg(put, capsys):
    with Image.open(put("me.png")) as picture:
        picture.convert("RGBA").save("me.png")
    assert protect("me.png", "-o", "out.jpg") == 0
    assert Image.open("out.jpg").mode == "RGB"


def test_a_folder_that_cannot_be_written_to_is_said_before_the_work(put, monkeypatch, capsys):
    put("me.png")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(protection, "prepare", lambda *args, **named: pytest.fail("a generator was loaded"))
    assert protect("me.png", "-o", "new/out.png") == 1
    assert "cannot be written to; nothing was written" in capsys.readouterr().out


def test_an_output_that_cannot_be_written_is_said(put, monkeypatch, capsys):
    put("me.png")
    assert protect("me.png", "-o", "me.png/out.png") == 1
    assert "me.png is a file, not a folder; nothing was" in capsys.readouterr().out
    monkeypatch.setattr(Path, "mkdir", lambda *args, **named: (_ for _ in ()).throw(PermissionError(13, "Denied")))
    assert protect("me.png", "-o", "new/out.png") == 1
    assert "[1/1] me.png: [Errno 13] Denied; nothing was written" in capsys.readouterr().out
    assert tree() == ["me.png"]


# ---------------------------------------------------------------- folders


@pytest.fixture
def holiday(put, here):
    """A folder of everything: good photos, one in a subfolder, a broken one, a wall, and a text."""
    put("in/a.jpg")
    put("in/sub/deep/b.png", WEAK)
    put("in/z.png", RECOGNISED)
    (here / "in" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    (here / "in" / "notes.txt").write_text("no photo")
    (here / "in" / ".hidden.png").write_bytes(b"hidden")
    Image.new("RGB", (200, 200), (90, 120, 90)).save(here / "in" / "wall.png")
    return here / "in"


def test_a_folder_keeps_its_tree_and_failures_do_not_stop_it(holiday, capsys):
    before = {name: Path("in", name).read_bytes() for name in tree("in")}
    assert protect("in", "-o", "out") == 1
    assert tree("out") == ["a.png", "sub/deep/b.png"]
    assert {name: Path("in", name).read_bytes() for name in tree("in")} == before
    said = capsys.readouterr().out
    for line in (
        "[1/5] in/a.jpg: 1 face protected -> out/a.png",
        "[2/5] in/broken.jpg: broken.jpg is damaged or incomplete",
        "[3/5] in/wall.png: no face was found; nothing was written",
        "[4/5] in/z.png: 1 face not protected; nothing was written",
        "[5/5] in/sub/deep/b.png: 1 face weak -> out/sub/deep/b.png",
        "2 of 5 photos protected",
        "3 photos failed:",
        "1 other file skipped: in/notes.txt",
    ):
        assert line in said
    assert "hidden" not in said


def test_a_folder_in_which_all_is_well_has_status_0(put, capsys):
    put("in/a.png")
    put("in/b/a.png", WEAK)
    assert protect("in") == 0
    assert tree("in_protected") == ["a.png", "b/a.png"]
    assert protect("in/", "-o", "other") == 0


def test_a_folder_s_status_counts_every_picture_in_it(put, here, capsys, people):
    """Whatever its ending, and whether it can be read or not."""
    put("in/a.jpg")
    put("in/b.jfif")
    with Image.open(people[PROTECTED][0]) as picture:
        picture.save(here / "in" / "c.tga")
        picture.save(here / "in" / "d", "PNG")
    (here / "in" / "notes.txt").write_text("no photo")
    assert protect("in", "-o", "out") == 0
    said = capsys.readouterr().out
    assert "4 of 4 photos protected" in said and "1 other file skipped: in/notes.txt" in said
    (here / "in" / "e.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60))
    with Image.open(people[PROTECTED][0]) as picture:
        picture.save(here / "in" / "f.gif", save_all=True, append_images=[picture.rotate(90)])
    assert protect("in", "-o", "out", "--skip-existing") == 1
    said = capsys.readouterr().out
    assert "in/e.heic" in said and "in/f.gif: f.gif holds 2 frames or pages" in said
    assert tree("out") == ["a.png", "b.png", "c.png", "d.png"]


def test_two_runs_on_one_folder_share_the_photos(put, monkeypatch, capsys):
    """Another run writes each of the photos while this one works: before it begins with it, or before it is done."""
    for name in "abc":
        put(f"in/{name}.png")
    same_face = evaluation.same_face

    def meanwhile(crop, clean, written, *rest):
        for name in (clean.name, "b.png"):
            Path("out", name).write_bytes(b"of the other run")
        return same_face(crop, clean, written, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "same_face", meanwhile)
        assert protect("in", "-o", "out", "--skip-existing") == 0
    assert tree("out") == ["a.png", "b.png", "c.png"]
    assert all(Path("out", f"{name}.png").read_bytes() == b"of the other run" for name in "abc")
    assert "3 photos skipped" in capsys.readouterr().out


def test_models_and_the_makeup_are_read_once_for_all_photos(put, monkeypatch):
    for name in "abc":
        put(f"in/{name}.png")
    put("makeup.png", which=2)
    counts = {}
    for module, name in ((generator, "load_generator"), (recognizers, "load"), (Method, "reference")):
        original = getattr(module, name)

        def counted(*args, _original=original, _name=name, **named):
            counts[_name] = counts.get(_name, 0) + 1
            return _original(*args, **named)

        monkeypatch.setattr(module, name, counted)
    assert protect("in", "-o", "out", "--reference", "makeup.png") == 0
    assert counts["load_generator"] == 1 and counts["load"] == 4
    # One look for the makeup; the three others get the face that was found, and hand it back.
    assert counts["reference"] == 4


def test_a_bug_is_not_taken_for_a_photo_s_failure(put, monkeypatch):
    put("in/a.png")
    put("in/b.png")
    monkeypatch.setattr(protecting.Loaded, "outcome", lambda *anything: {}["a bug"])
    with pytest.raises(KeyError):
        protect("in", "-o", "out")


@pytest.mark.parametrize(
    "error", [slow(RuntimeError("out of memory")), MemoryError(), slow(ValueError("five points coincide"))]
)
def test_what_a_photo_does_to_torch_or_numpy_fails_this_photo_only(put, monkeypatch, capsys, error):
    put("in/a.png")
    put("in/b.png")
    original = protection.Protector.protect

    def spoilt(self, photo, *args, **named):
        if photo.name == "a.png":
            raise error
        return original(self, photo, *args, **named)

    monkeypatch.setattr(protection.Protector, "protect", spoilt)
    assert protect("in", "-o", "out") == 1
    assert tree("out") == ["b.png"]
    assert f"[1/2] in/a.png: {str(error) or 'not enough memory'}; nothing" in capsys.readouterr().out


def test_a_folder_that_cannot_be_read_fails_loudly(put, monkeypatch, capsys):
    put("in/a.png")

    def walk(where, onerror):
        onerror(PermissionError(13, "Permission denied", "in/secret"))
        yield from [("in", [], ["a.png"])]

    monkeypatch.setattr(os, "walk", walk)
    assert protect("in", "-o", "out") == 1
    said = capsys.readouterr().out
    assert "[1/2] in: cannot be read: [Errno 13] Permission denied: 'in/secret'" in said and "1 of 2 photos" in said
    assert tree("out") == ["a.png"]


def test_the_output_folder_inside_the_photos_is_no_photo(put):
    put("in/a.png")
    assert protect("in", "-o", "in/out") == 0
    assert protect("in", "-o", "in/out", "--overwrite") == 0
    assert tree("in") == ["a.png", "out/a.png"]


# ---------------------------------------------------------------- existing files


def test_nothing_is_overwritten_unless_it_is_asked_for(put, capsys):
    put("in/a.png")
    put("in/b.png", WEAK)
    put("out/a.png", RECOGNISED)
    there = Path("out/a.png").read_bytes()
    assert protect("in", "-o", "out") == 1
    assert Path("out/a.png").read_bytes() == there and tree("out") == ["a.png", "b.png"]
    said = capsys.readouterr().out
    assert "out/a.png exists: --overwrite replaces it, --skip-existing skips the photo" in said
    assert protect("in", "-o", "out", "--overwrite") == 0
    assert Path("out/a.png").read_bytes() != there


def test_a_second_run_goes_on_where_the_first_stopped(put, capsys, monkeypatch):
    put("in/a.png")
    put("in/b.png", WEAK)
    put("out/a.png")
    there = Path("out/a.png").stat()
    assert protect("in", "-o", "out", "--skip-existing") == 0
    assert Path("out/a.png").stat() == there and tree("out") == ["a.png", "b.png"]
    said = capsys.readouterr().out
    assert "[1/2] in/a.png: skipped, out/a.png exists" in said and "1 of 1 photo protected" in said
    monkeypatch.setattr(protection, "prepare", lambda *args, **named: pytest.fail("a generator was loaded"))
    assert protect("in", "-o", "out", "--skip-existing") == 0
    assert "2 photos skipped: the outputs exist and were not checked" in capsys.readouterr().out


def test_a_file_that_appeared_meanwhile_is_not_overwritten(put, monkeypatch, capsys):
    put("me.png")
    original = protection.Protector.protect

    def slow(self, *args, **named):
        Path("me_protected.png").write_text("somebody else's")
        return original(self, *args, **named)

    monkeypatch.setattr(protection.Protector, "protect", slow)
    assert protect("me.png") == 1
    assert Path("me_protected.png").read_text() == "somebody else's"
    assert "me_protected.png was created by something else in the meantime" in capsys.readouterr().out
    assert tree() == ["me.png", "me_protected.png"]


def test_the_photos_themselves_are_never_written_over(put, here, capsys):
    photo = put("in/me.png")
    before = photo.read_bytes()
    (here / "link.png").symlink_to(photo)
    for out in ("in/me.png", "link.png", "in", "./in/../in/me.png"):
        assert protect("in/me.png", "-o", out, "--overwrite") == 1
    assert protect("in", "-o", "in", "--overwrite") == 2
    assert protect("in", "-o", "./in/../in", "--overwrite") == 2
    said = capsys.readouterr()
    assert said.out.count("is one of the input photos, which are never overwritten") == 4
    assert "in is the folder of the photos themselves: choose another one" in said.err
    assert photo.read_bytes() == before and tree() == ["in/me.png", "link.png"]


def test_no_photo_that_is_given_beside_them_is_written_over(put, capsys):
    files = {name: put(name, WEAK) for name in ("known/profile.png", "makeup.png", "person.png")}
    before = {name: file.read_bytes() for name, file in files.items()}
    put("me.png")
    given = ("--known", "known", "--reference", "makeup.png", "--target", "person.png", "--impersonate")
    for name in files:
        assert protect("me.png", *given, "-o", name, "--overwrite") == 1
        assert protect("me.png", *given, "--show-faces", name, "--overwrite") == 1
    assert capsys.readouterr().out.count("is one of the input photos") == 6
    assert {name: file.read_bytes() for name, file in files.items()} == before and not Path("me_protected.png").exists()


def test_a_picture_of_what_was_found_replaces_none_that_exists(put, capsys):
    put("me.png")
    other = put("other.png", WEAK).read_bytes()
    assert protect("me.png", "--show-faces", "other.png") == 1
    assert "other.png exists: --overwrite replaces it" in capsys.readouterr().out
    assert protect("me.png", "--show-faces", "other.png", "--skip-existing") == 0
    assert Path("other.png").read_bytes() == other
    assert protect("me.png", "--show-faces", "other.png", "--overwrite") == 0
    assert Path("other.png").read_bytes() != other


def test_nor_through_a_link_in_the_output_folder_or_from_a_folder_below(put, here):
    photos = put("in/me.png"), put("in/in/me.png", WEAK)
    before = [photo.read_bytes() for photo in photos]
    (here / "out").mkdir()
    (here / "out" / "me.png").symlink_to(photos[1])
    assert protect("in", "-o", "out", "--overwrite") == 1
    assert [photo.read_bytes() for photo in photos] == before and tree("out") == ["in/me.png", "me.png"]


def test_two_photos_that_would_become_one_file_are_both_refused(put, capsys):
    put("in/a.jpg")
    put("in/a.png", WEAK)
    put("in/b.png")
    assert protect("in", "-o", "out", "--overwrite") == 1
    assert tree("out") == ["b.png"]
    assert capsys.readouterr().out.count("another photo would also become out/a.png: use --format same") == 4
    assert protect("in", "-o", "out", "--overwrite", "--format", "same") == 0
    assert tree("out") == ["a.jpg", "a.png", "b.png"]


# ---------------------------------------------------------------- which faces


def test_all_faces_or_the_largest(group, capsys):
    assert protect("group.png") == 0
    assert "group.png: 1 face protected, 1 face weak -> group_protected.png" in capsys.readouterr().out
    assert protect("group.png", "--faces", "largest", "-o", "one.png") == 0
    said = capsys.readouterr().out
    assert "group.png: 1 face protected, 1 face left unchanged -> one.png" in said
    assert "1 face left unprotected, as you chose." in said
    changed = (pixels("group.png") != pixels("one.png")).any(-1)
    assert changed[:, :200].any() and not changed[:, 200:].any()


def test_faces_are_picked_by_number(group, capsys):
    assert protect("group.png", "--pick", "2", "-o", "two.png") == 0
    changed = (pixels("group.png") != pixels("two.png")).any(-1)
    assert changed[:, 200:].any() and not changed[:, :200].any()
    assert protect("group.png", "--faces", "pick", "--pick", "2,1", "-o", "both.png") == 0
    assert "1 face protected, 1 face weak -> both.png" in capsys.readouterr().out
    assert protect("group.png", "--pick", "1,3", "-o", "none.png") == 1
    assert "group.png: found 2 faces, but --pick names face 3; nothing was written" in capsys.readouterr().out
    assert not Path("none.png").exists()


def test_faces_are_listed_where_nobody_can_be_asked(group, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert protect("group.png", "--faces", "pick") == 1
    said = capsys.readouterr().out
    assert "  face 1, " in said and "  face 2, " in said and " px at (" in said
    assert "no face was chosen: give numbers, such as --pick 1,3; nothing was written" in said
    assert tree() == ["group.png"]


class Terminal:
    """Somebody who types these lines."""

    def __init__(self, *lines):
        self.lines = list(lines)

    def isatty(self):
        return True

    def readline(self):
        return self.lines.pop(0) if self.lines else ""


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        (["2\n"], 0, "1 face weak, 1 face left unchanged"),
        (["\n"], 0, "1 face protected, 1 face weak"),
        (["both\n", "3\n", "1\n"], 0, "1 face protected, 1 face left unchanged"),
        ([], 1, "no face was chosen; nothing was written"),
    ],
)
def test_on_a_terminal_faces_are_asked_for(group, capsys, monkeypatch, typed, status, said):
    monkeypatch.setattr(sys, "stdin", Terminal(*typed))
    assert protect("group.png", "--faces", "pick") == status
    out = capsys.readouterr().out
    assert said in out and "Which faces?" in out
    if len(typed) == 3:
        assert "'both\\n' is not a list of face numbers" in out
        assert "Only 2 faces found." in out


# ---------------------------------------------------------------- a face too small to change

SMALL = "the face of 14 x 16 px at (157, 38) is too small to change: 6 px between the eyes, at least 8 are needed"
ADVICE = "Faces too small to change are unprotected in written photos: cover them or crop them out."


def test_a_face_too_small_to_change_is_named_and_fails_a_photo_that_is_written_all_the_same(far_behind, capsys):
    assert protect("two.png") == 1
    said = capsys.readouterr().out.splitlines()
    assert "[1/1] two.png: 1 face protected, 1 face too small to change -> two_protected.png" in said
    assert f"  note: {SMALL}" in said and said[-1] == ADVICE
    assert any(line.startswith("0 of 1 photo protected according to") for line in said)
    changed = (pixels("two.png") != pixels("two_protected.png")).any(-1)
    assert changed[:, :130].any() and not changed[:, 150:].any()


@pytest.mark.parametrize("words", [("--faces", "largest"), ("--pick", "1")])
def test_a_face_too_small_to_change_that_was_not_chosen_is_named_only(far_behind, capsys, words):
    assert protect("two.png", *words) == 0
    said = capsys.readouterr().out.splitlines()
    assert "[1/1] two.png: 1 face protected, 1 face too small to change -> two_protected.png" in said
    assert f"  note: {SMALL}" in said and ADVICE not in said
    assert any(line.startswith("1 of 1 photo protected according to") for line in said)


@pytest.mark.parametrize(("words", "status", "chosen"), [((), 1, True), (("--faces", "largest"), 0, False)])
def test_json_has_the_place_and_the_reason_of_a_face_too_small_to_change(far_behind, capsys, words, status, chosen):
    assert protect("two.png", "--json", *words) == status
    told = json.loads(capsys.readouterr().out)
    (photo,) = told["photos"]
    assert told["exit_status"] == status and photo["output"] == "two_protected.png"
    assert photo["status"] == ("not protected" if chosen else "protected")
    assert [face["verdict"] for face in photo["faces"]] == ["protected"]
    (small,) = photo["too_small"]
    assert small["box"] == pytest.approx([157, 38, 171, 54], abs=1) and small["chosen"] is chosen
    assert 6 <= small["eye_distance"] < 7
    assert small["reason"] == "too small to change: 6 px between the eyes, at least 8 are needed"


def test_a_recognised_face_beside_one_too_small_to_change_is_still_not_written(far_behind, capsys):
    assert protect("two.png", "--strength", 0) == 1
    said = capsys.readouterr().out
    assert "1 face not protected, 1 face too small to change; nothing was written" in said
    assert SMALL in said and ADVICE not in said
    assert tree() == ["two.png"]


# ---------------------------------------------------------------- a face to be looked at, or added by hand

DOUBTFUL = (
    "what lies at 40 x 50 px at (210, 60) is not protected: one of two detectors sees a face, but no landmarks fit it"
)


@pytest.fixture
def doubted(here, people, monkeypatch):
    """A person who can be protected beside a wall where a second detector is sure to see a face; and photos without."""
    with Image.open(people[PROTECTED][0]) as one:
        person = one.convert("RGB").resize((200, 200))
    picture = Image.new("RGB", (300, 200), (120, 120, 120))
    picture.paste(person)
    picture.save(here / "a.png")

    def sightings(rgb, *turned):
        return [faces.mtcnn.Sighting(np.array((210.0, 60, 250, 110)), 0.99)] if rgb.shape[:2] == (200, 300) else []

    monkeypatch.setattr(faces.mtcnn, "at_hand", lambda: True)
    monkeypatch.setattr(faces.mtcnn, "sightings", sightings)


def test_a_doubtful_face_is_named_and_the_photo_written(doubted, capsys):
    assert protect("a.png", "--show-faces", "seen.png") == 1
    said = capsys.readouterr().out
    assert "a.png: 1 face protected, 1 face to be looked at -> a_protected.png" in said
    assert f"  note: {DOUBTFUL}" in said and "mark it with --add-face" in said
    assert tree() == ["a.png", "a_protected.png", "seen.png"]
    red = pixels("seen.png")[85, 210]
    assert red[0] > 200 and red[1:].max() < 100


def test_a_doubtful_face_that_was_not_chosen_is_named_only(doubted, capsys):
    assert protect("a.png", "--faces", "largest", "--json") == 0
    (photo,) = json.loads(capsys.readouterr().out)["photos"]
    (doubtful,) = photo["doubtful"]
    assert doubtful["box"] == [210, 60, 250, 110] and not doubtful["chosen"] and not doubtful["by_hand"]
    assert photo["status"] == "protected" and photo["too_small"] == []


def test_a_folder_lists_first_what_is_to_be_looked_at(doubted, here, capsys):
    (here / "in").mkdir()
    (here / "a.png").rename(here / "in" / "b.png")
    Image.new("RGB", (100, 100), "white").save(here / "in" / "a.png")
    assert protect("in", "-o", "out", "--show-faces", "seen") == 1
    said = capsys.readouterr().out.splitlines()
    first, second = said.index("1 photo to be looked at:"), said.index("1 photo failed:")
    assert first < second and "in/b.png" in said[first + 1] and DOUBTFUL in said[first + 2]
    assert "in/a.png: no face was found" in said[second + 1]
    assert tree("out") == ["b.png"] and tree("seen") == ["a.png.png", "b.png.png"]


def test_a_marked_place_without_a_face_is_named(doubted, capsys):
    assert protect("a.png", "--add-face", "205,50,260,120") == 1
    said = capsys.readouterr().out
    assert "what lies at 55 x 70 px at (205, 50) is not protected: you marked it, but no landmarks fit it" in said
    assert DOUBTFUL not in said, "it is the same place"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("me.png --add-face 1,2,3", "'1,2,3' is not a box: give left, top, right and bottom in pixels"),
        ("me.png --add-face 30,20,10,40", "'30,20,10,40' is not a box"),
        ("in --add-face 1,2,30,40", "--add-face is for one photo, not for a folder."),
        ("in --show-faces in/seen", "in/seen is in the folder of the photos: choose another place for --show-faces."),
        ("me.png --show-faces me.png", "me.png is the photo or its output"),
        ("me.png --show-faces me_protected.png", "me_protected.png is the photo or its output"),
        ("me.png --show-faces seen.txt", "seen.txt has a suffix that cannot be written"),
    ],
)
def test_places_that_cannot_be_right(put, capsys, words, reason):
    put("me.png")
    put("in/a.png")
    assert protect(*words.split()) == 2
    assert reason in capsys.readouterr().err
    assert tree() == ["in/a.png", "me.png"]


# ---------------------------------------------------------------- JSON


def test_json_alone_stands_on_stdout(holiday, capsys):
    assert protect("in", "-o", "out", "--json") == 1
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert "[1/5] in/a.jpg: 1 face protected" in captured.err
    assert (told["exit_status"], told["interrupted"]) == (1, False)
    assert told["counts"] == {"photos": 5, "protected": 1, "weak": 1, "not protected": 3, "skipped": 0}
    assert told["asked"]["recognisers"] == list(recognizers.DRAWN) and told["asked"]["far"] == 0.01
    assert "drawn_inception" not in told["asked"]["took_part"]
    assert told["skipped_files"] == ["in/notes.txt"] and "drawn faces" in told["notes"][0]
    by_name = {Path(photo["photo"]).name: photo for photo in told["photos"]}
    assert by_name["a.jpg"]["output"] == "out/a.png" and by_name["wall.png"]["problem"] == "no face was found"
    assert by_name["z.png"]["status"] == "not protected" and by_name["z.png"]["output"] is None
    (face,) = by_name["z.png"]["faces"]
    assert (
        face["verdict"] == "not protected" and face["mean_change"] > 1 and face["visible"] > 1 and len(face["box"]) == 4
    )
    answer = {each["recogniser"]: each for each in face["answers"]}["drawn_inception"]
    assert answer["before"] == pytest.approx(1) and answer["after"] > answer["threshold"]
    assert (answer["verdict"], answer["took_part"], answer["target"]) == ("not protected", False, None)


def test_wrong_arguments_leave_stdout_empty_with_json_too(put, capsys):
    put("me.png")
    assert protect("me.png", "--json", "--far", 0.5) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "drawn_ir has no threshold at a false accept rate of 0.5: there are 0.1, 0.01, 0.001" in captured.err


# ---------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize(
    "moment", [slow("while a face is changed"), "while the file is written", slow("while it is judged")]
)
def test_ctrl_c_leaves_whole_files_only_and_says_how_many(put, monkeypatch, capsys, moment):
    for name in "abc":
        put(f"in/{name}.png")
    place = {
        "while a face is changed": (protection.Protector, "protect"),
        "while the file is written": (os, "replace"),
        "while it is judged": (evaluation, "same_face"),
    }[moment]
    original, calls = getattr(*place), []

    def interrupted(*args, **named):
        calls.append(1)
        if len(calls) >= (4 if place[0] is os else 2):  # a file is moved twice: as a draft, and to its place
            raise KeyboardInterrupt
        return original(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(*place, interrupted)
        assert protect("in", "-o", "out", "--json") == 130
    captured = capsys.readouterr()
    assert tree("out") == ["a.png"]
    told = json.loads(captured.out)
    assert (told["interrupted"], told["exit_status"], len(told["photos"])) == (True, 130, 1)
    said = "interrupted: 1 of 3 photos done; the same command with --skip-existing resumes from there."
    assert captured.err.splitlines()[-1] == f"python -m amtgan_lib: {said}"
    assert protect("in", "-o", "out", "--skip-existing") == 0
    assert tree("out") == ["a.png", "b.png", "c.png"]


def test_a_real_interrupt_ends_the_process_with_130(put, here):
    for number in range(40):
        put(f"in/{number:02}.png")
    call = [sys.executable, "-u", "-m", "amtgan_lib", "protect", str(here / "in"), "-o", str(here / "out")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    limit = time.monotonic() + 400
    with subprocess.Popen(
        [*call, "--generator", DRAWN], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            while not list(here.glob("out/[0-9]*.png")) and process.poll() is None and time.monotonic() < limit:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=400)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "interrupted: " in err.splitlines()[-1] and "Traceback" not in err
    written = list((here / "out").iterdir())
    assert 0 < len(written) < 40 and not [path for path in written if path.name.startswith(".")]
    assert all(Image.open(path).load() for path in written)


def test_an_interrupt_inside_exec_ends_with_130_too(here):
    (here / "sitecustomize.py").write_text(
        "import difflib\ndifflib.get_close_matches = lambda *_, **__: exec('raise KeyboardInterrupt')\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{here}{os.pathsep}{ROOT}"}
    call = [sys.executable, "-m", "amtgan_lib", "protcet"]
    done = subprocess.run(call, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (130, "python -m amtgan_lib: interrupted.\n")


# ---------------------------------------------------------------- wrong arguments


def test_wrong_arguments_are_answered_before_anything_slow_is_imported(put):
    put("me.png")
    code = (
        "import sys; from amtgan_lib.__main__ import main; status = main(['protect', 'me.png', '--strength', '2']);"
        "print(status, 'torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "2 False\n"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("none.png", 2, "there is no file or folder none.png: check the path."),
        ("me.png in/a.png", 2, "protect takes one photo or a folder of photos, not in/a.png as well (see `"),
        ("in me.png --quick", 2, "protect takes one photo or a folder of photos, not me.png as well"),
        ("me.png in/a.png --fcaes all", 2, "Unrecognized options: --fcaes; did you mean '--faces'?"),
        ("me.png --reference none.png", 2, "there is no file or folder none.png: check the path."),
        ("me.png --strength 1.1", 2, "--strength is 1.1: it must be between 0 and 1."),
        ("me.png --strength nan", 2, "--strength is nan: it must be between 0 and 1."),
        ("me.png --passes 0", 2, "--passes is 0: it must be at least 1."),
        ("me.png --passes 2", 1, "has the recipe residual, which makes one pass: omit passes"),
        ("me.png --pick 0", 2, "'0' is not a list of face numbers: separate them with commas, as in 1,3."),
        ("me.png --pick 1,,2", 2, "'1,,2' is not a list of face numbers"),
        ("me.png --pick 1 --faces largest", 2, "--pick and --faces largest contradict each other: choose one."),
        ("me.png --quick --stronger", 2, "--quick and --stronger contradict each other: choose one."),
        ("me.png --overwrite --skip-existing", 2, "--overwrite and --skip-existing contradict each other: choose one."),
        ("me.png --target me.png", 2, "who may be held responsible for it: add --impersonate"),
        ("me.png --target me.png --impersonate", 1, "was trained for one target: omit the target"),
        ("me.png --ask edgeface", 2, "no recogniser 'edgeface': did you mean 'edgeface_xs'"),
        ("me.png --faces some", 2, "invalid choice 'some' for argument '--faces'"),
        ("me.png -o out.gif", 2, "out.gif has a suffix that cannot be written: use .bmp"),
        ("me.png -o out.png --format jpg", 2, "OUT out.png already has a format: omit --format."),
        ("in -o out.png", 2, "in is a folder, so OUT must be a folder, but out.png is a file."),
        ("in -o me.png", 2, "in is a folder, so OUT must be a folder, but me.png is a file."),
        ("me.png --strip-metadata --keep-location", 2, "--strip-metadata and --keep-location contradict each other"),
        ("empty", 1, "there is no photo in empty."),
        ("me.png --reference wall.png", 1, "wall.png: no face was found"),
    ],
)
def test_wrong_arguments_are_one_sentence(put, here, capsys, words, status, said):
    put("me.png"), put("in/a.png")
    (here / "empty").mkdir()
    Image.new("RGB", (200, 200), (90, 120, 90)).save("wall.png")
    assert protect(*words.split()) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m amtgan_lib: ") and said in line
    assert tree() == ["in/a.png", "me.png", "wall.png"]


def test_a_generator_that_gives_crops_writes_the_face_alone(put, here):
    put("me.png")
    network, facts = load_generator(DRAWN)
    save_generator(network, here / "g.safetensors", {**facts, "recipe": "published"})
    assert command_line.main(["protect", "me.png", "--generator", "g.safetensors", "--keep-recognised"]) in (0, 1)
    assert Image.open("me_protected.png").size == (facts["size"], facts["size"])


def test_a_generator_trained_for_a_person_needs_impersonate(put, here, capsys):
    put("me.png")
    network, facts = load_generator(DRAWN)
    save_generator(network, here / "g.safetensors", {**facts, "world": "open", "target": "london/001"})
    words = ["protect", "me.png", "--generator", "g.safetensors", "--ask", "drawn"]
    assert command_line.main(words) == 1
    assert "take a face for london/001: that person may be held responsible for it" in capsys.readouterr().err
    assert command_line.main([*words, "--impersonate"]) == 0


# ---------------------------------------------------------------- names and drafts


def options_of(photo="me.png", output=None, **more):
    return arguments.Protect(Path(photo), None if output is None else Path(output), **more)


@pytest.mark.parametrize(
    ("photo", "output", "form", "expected"),
    [
        ("me.jpg", None, None, "me_protected.png"),
        ("me.jpg", None, "same", "me_protected.jpg"),
        ("in/me.jpg", None, "webp", "in/me_protected.webp"),
        ("me.jpg", "new", None, "new/me.png"),
        ("me.jpg", "in", "jpg", "in/me.jpg"),
        ("me.jpg", "new/me.JPG", None, "new/me.JPG"),
        ("me.gif", None, "same", "me_protected.png"),
        ("in", None, None, "in_protected"),
        ("in/", None, None, "in_protected"),
        ("in", "new/folder", None, "new/folder"),
    ],
)
def test_where_the_output_goes(here, photo, output, form, expected):
    (here / "in").mkdir()
    for name in ("me.jpg", "me.gif", "in/me.jpg"):
        (here / name).touch()
    assert folders.destination(options_of(photo, output, format=form)) == Path(expected)


def test_the_folder_that_one_stands_in_gets_a_name(here, monkeypatch):
    (here / "in").mkdir()
    monkeypatch.chdir(here / "in")
    assert folders.destination(options_of(".")) == here.resolve() / "in_protected"


def test_linked_folders_are_not_entered(here):
    (here / "in").mkdir()
    (here / "in" / "a.png").touch()
    (here / "in" / "loop").symlink_to(here / "in", target_is_directory=True)
    assert folders.look(Path("in")).photos == (Path("in/a.png"),)


def test_a_draft_leaves_nothing_behind(here):
    with pytest.raises(KeyboardInterrupt), folders.draft(here / "new" / "sub" / "a.png") as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert not list(here.iterdir())
    with folders.draft(here / "new" / "sub" / "a.png") as path:
        path.write_text("whole")
        os.replace(path, here / "new" / "sub" / "a.png")
    assert tree(here) == ["new/sub/a.png"]


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        (0.51, "not protected"),
        (0.5, "weak"),
        (0.21, "weak"),
        (0.2, "protected"),
        (-1.0, "protected"),
        (math.nan, "not protected"),
    ],
)
def test_a_verdict_is_about_the_thresholds(after, verdict):
    assert Answer("r", 1.0, after, threshold=0.5, lax=0.2).verdict == verdict


def test_who_did_not_know_the_owner_before_shows_nothing():
    assert Answer("r", 0.51, 0.0, 0.5, 0.2).knew
    assert not Answer("r", 0.5, 0.0, 0.5, 0.2).knew and not Answer("r", math.nan, 0.0, 0.5, 0.2).knew
    assert "not recognised before protection either" in outcomes.sentence(Answer("r", 0.4, 0.0, 0.5, 0.2))
    assert outcomes.sentence(Answer("r", math.nan, 0.0, 0.5, 0.2)) == "r: no face was found in the clean photo"
    assert "no face found after" in outcomes.sentence(Answer("r", 1.0, math.nan, 0.5, 0.2))
    assert "; 0.70 to the target: protected" in outcomes.sentence(Answer("r", 1.0, 0.0, 0.5, 0.2, 0.7))


def test_the_worst_verdict_counts_and_none_is_not_protected():
    assert evaluation.worst(["protected", "weak"]) == "weak"
    assert evaluation.worst(["protected", "not protected", "weak"]) == "not protected"
    assert evaluation.worst([]) == "not protected"


def test_thresholds_are_the_recognisers_own_but_those_that_a_table_lists(here):
    own = recognizers.load("drawn_ir")
    bare = recognizers.load("drawn_irse").with_thresholds({})
    table = here / "t.csv"
    rows = [("drawn_irse", 0.01, 0.25), ("drawn_irse", 0.1, 0.125)]
    pd.DataFrame(rows, columns=["recogniser", "far", "threshold"]).to_csv(table, index=False)
    one, other = evaluation.with_thresholds([own, bare], 0.01, table)
    assert one is own and other.thresholds == {0.01: 0.25, 0.1: 0.125}
    assert evaluation.with_thresholds([own], 0.01) == [own]
    calibrated = recognizers.load("drawn_irse")
    (overridden,) = evaluation.with_thresholds([calibrated], 0.01, table)
    assert overridden.thresholds == {0.01: 0.25, 0.1: 0.125} != calibrated.thresholds
    with pytest.raises(ValueError, match=r"no threshold at a false accept rate of 0.001: there are 0.01, 0.1"):
        evaluation.with_thresholds([calibrated], 0.001, table)
    with pytest.raises(ValueError, match=r"drawn_ir has no threshold at .* 0.01: it is not in .*t.csv"):
        evaluation.with_thresholds([own.with_thresholds({})], 0.01, table)
    with pytest.raises(ValueError, match=r"none.csv: there is no such file"):
        evaluation.with_thresholds([bare], 0.01, Path("none.csv"))
    (here / "odd.csv").write_text("name,far\na,1\n")
    with pytest.raises(ValueError, match=r"odd.csv has no column recogniser"):
        evaluation.with_thresholds([bare], 0.01, here / "odd.csv")
    (here / "odd.csv").write_bytes(b"\xff\xd8")
    with pytest.raises(ValueError, match=r"odd.csv is no table in CSV: 'utf-8' codec"):
        evaluation.with_thresholds([bare], 0.01, here / "odd.csv")
    with pytest.raises(WrongArguments, match="or give --thresholds CSV as notebook 02_recognizers writes it"):
        asking.panel(["drawn_irse"], 0.001, table, {"drawn_irse": bare})


def test_where_thresholds_are_from_is_said(here):
    table = here / "t.csv"
    table.write_text("recogniser,far,threshold\ndrawn_ir,0.01,0.5\n")
    assert asking.panel(["drawn_ir"], 0.01, table).source == str(table)
    assert asking.panel(["drawn_ir"], 0.01).source == "the recognisers' own"
    table.write_text("recogniser,far,threshold,people,impostor_pairs\ndrawn_ir,0.01,0.5,7,42\nother,0.01,0.5,8,56\n")
    panel = asking.panel(["drawn_ir"], 0.01, table)
    assert panel.source == f"{table}, from 42 pairs of 7 other people"
    assert panel.as_json() == {"recognisers": ["drawn_ir"], "far": 0.01, "thresholds": panel.source}


def test_what_open_thresholds_were_measured_on_is_said(mirror):
    source = asking.panel(["edgeface_xs", "edgeface_xxs", "drawn_ir"], 0.01).source
    assert source.count(str(recognizers.spec("edgeface_xs").calibration)) == 1


def test_names_of_recognisers_and_of_sets():
    assert asking.names("drawn_ir, drawn,drawn_ir") == list(recognizers.DRAWN)
    assert asking.names("open") == list(recognizers.zoo("open"))
    with pytest.raises(WrongArguments, match="--ask: there is no recogniser ''"):
        asking.names("")


def test_a_face_is_compared_with_itself_as_a_detector_would_find_it(people):
    photo = open_photo(people[WEAK][0])
    crop = faces.detect_one(photo, 80)
    image, points = crop.view(photo, 256)
    again = faces.detect_one(photo, 256)
    assert torch.equal(image, again.image)
    torch.testing.assert_close(points, again.points, atol=1e-3, rtol=0)
    judges = [recognizers.load(name) for name in recognizers.DRAWN]
    for answer in evaluation.same_face(crop, photo, photo.original, judges, 0.01):
        assert [answer.before, answer.after] == pytest.approx([1, 1], abs=1e-5) and answer.verdict == "not protected"
    with pytest.raises(ValueError, match="this face is from a photo of"):
        crop.view(Image.new("RGB", (10, 10)), 256)


def test_the_target_s_similarity_is_that_of_the_protected_face(people):
    photo, other = open_photo(people[WEAK][0]), open_photo(people[PROTECTED][0])
    crop = faces.detect_one(photo, 80)
    judge = recognizers.load("drawn_ir")
    image, points = crop.view(other, 256)
    target = {"drawn_ir": judge.embed(image[None], points[None])[0]}
    (answer,) = evaluation.same_face(crop, photo, other, [judge], 0.01, target)
    assert answer.target == pytest.approx(1, abs=1e-5) and answer.after < 0.9


# ---------------------------------------------------------------- evaluate


def evaluate(*words):
    return command_line.main(["evaluate", *map(str, words), "--ask", "drawn"])


@pytest.fixture
def pair(put):
    """A photo and its protected one."""
    put("me.png")
    assert protect("me.png") == 0
    return Path("me.png"), Path("me_protected.png")


def test_two_photos_are_compared_with_the_clean_one(pair, capsys):
    capsys.readouterr()
    assert evaluate(*pair) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "me.png -> me_protected.png: protected"
    assert [line.split(":")[0].strip() for line in said[1:5]] == list(recognizers.DRAWN)
    assert "similarity 1.00 before, " in said[1]
    assert said[-3].startswith("1 of 1 photo protected according to the 4 recognisers asked (drawn_ir, drawn_irse,")
    assert said[-1] == outcomes.RAISED
    assert said[-2] == "Thresholds: the recognisers' own."
    assert evaluate(pair[0], pair[0]) == 1
    assert "me.png -> me.png: not protected" in capsys.readouterr().out


@pytest.mark.parametrize("there", [["edgeface_xs"], ["dlib", "edgeface_xxs"], list(recognizers.OWN)])
def test_without_names_those_at_hand_are_asked_and_nothing_is_fetched(monkeypatch, there):
    monkeypatch.setattr(recognizer, "at_hand", lambda names: tuple(name for name in names if name in there))
    assert list(recognizers.judges_at_hand()) == there


def test_evaluate_works_without_any_open_recogniser(pair, monkeypatch, capsys):
    monkeypatch.setattr(recognizers, "judges_at_hand", lambda: ("distilled_plain",))
    monkeypatch.setattr(Answer, "knew", True)
    for verdict, status in ((evaluation.PROTECTED, outcomes.UNCONFIRMED), (evaluation.NOT_PROTECTED, 1)):
        monkeypatch.setattr(Answer, "verdict", verdict)
        assert command_line.main(["evaluate", *map(str, pair)]) == status
        said = capsys.readouterr().out
        assert "according to the 1 recogniser asked (distilled_plain)" in said
        assert ("Unconfirmed: these recognisers are there to guide" in said) is (status == outcomes.UNCONFIRMED)


def test_protect_and_evaluate_agree(pair, capsys):
    protect("me.png", "--overwrite", "--json")
    told = json.loads(capsys.readouterr().out)["photos"][0]["faces"][0]["answers"]
    evaluate(*pair, "--json")
    asked = json.loads(capsys.readouterr().out)["photos"][0]["answers"]
    for one, other in zip(told, asked):
        # The face is found anew here, in the very file; there it is cut where it was found before.
        assert one["recogniser"] == other["recogniser"] and one["threshold"] == other["threshold"]
        assert one["after"] == pytest.approx(other["after"], abs=0.12)


def test_a_known_photo_of_the_same_person_and_one_of_another(pair, put, capsys):
    put("other.png", PROTECTED, which=1)
    put("stranger.png", RECOGNISED)
    assert evaluate(*pair, "--known", "other.png", "--json") == 0
    (photo,) = json.loads(capsys.readouterr().out)["photos"]
    assert photo["known"] == "other.png" and all(0.4 < answer["before"] < 1 for answer in photo["answers"])
    assert evaluate(*pair, "--known", "stranger.png") == 1
    assert "me.png -> me_protected.png: not recognised before protection either" in capsys.readouterr().out


def test_a_photo_without_a_face_is_no_success(pair, capsys):
    Image.new("RGB", Image.open(pair[0]).size, (90, 120, 90)).save("wall.png")
    assert evaluate(pair[0], "wall.png") == 1
    assert "no face found after" in capsys.readouterr().out
    assert evaluate("wall.png", pair[1]) == 1
    assert "no face was found, so there is nothing to compare with" in capsys.readouterr().out


def test_folders_are_compared_by_name(put, capsys):
    put("in/a.jpg")
    put("in/sub/b.png", WEAK)
    put("in/c.png", RECOGNISED)
    protect("in", "-o", "out")
    capsys.readouterr()
    assert evaluate("in", "out", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    verdicts = {photo["clean"]: (photo["protected"], photo["verdict"], photo["problem"]) for photo in told["photos"]}
    assert verdicts["in/a.jpg"] == ("out/a.png", "protected", None)
    assert verdicts["in/sub/b.png"][0] == "out/sub/b.png" and verdicts["in/sub/b.png"][1] in ("weak", "protected")
    assert verdicts["in/c.png"] == (None, "not protected", "there is no protected photo of this name")
    Path("in/c.png").unlink()
    assert evaluate("in", "out") == 0
    said = capsys.readouterr().out
    assert "drawn_ir recognised the owner in 2 of 2 clean photos, and still does in 0." in said


def unreadable(monkeypatch, *folders_of):
    """In each of these folders stands one, `secret`, that may not be looked into."""
    walk = os.walk

    def walked(where, onerror):
        if str(where) in folders_of:
            onerror(PermissionError(13, "Permission denied", f"{where}/secret"))
        yield from walk(where, onerror=onerror)

    monkeypatch.setattr(os, "walk", walked)


@pytest.mark.parametrize("folder", ["in", slow("out"), slow("known")])
def test_a_folder_that_cannot_be_read_is_a_failed_comparison(put, monkeypatch, capsys, folder):
    put("in/a.png")
    put("known/a.png", which=1)
    assert protect("in", "-o", "out") == 0
    assert evaluate("in", "out", "--known", "known") == 0
    capsys.readouterr()
    unreadable(monkeypatch, folder)
    assert evaluate("in", "out", "--known", "known") == 1
    said = capsys.readouterr().out
    assert f"in -> out: cannot be read: [Errno 13] Permission denied: '{folder}/secret'" in said
    assert "in/a.png -> out/a.png: protected" in said and "1 of 2 photos protected" in said


def test_nothing_compared_is_no_success(here, monkeypatch, capsys):
    for name in ("in", "out"):
        Path(name).mkdir()
    unreadable(monkeypatch, "in", "out")
    assert evaluate("in", "out", "--json") == 1
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["exit_status"] == 1 and "0 of 2 photos protected" in captured.err
    assert [(photo["clean"], photo["verdict"]) for photo in told["photos"]] == [("in", "not protected")] * 2
    assert evaluate("in", "in", "--json") == 1
    assert len(json.loads(capsys.readouterr().out)["photos"]) == 1  # one folder is one problem


def test_a_larger_face_beside_it_is_not_compared_with_the_clean_one(group, put, capsys):
    """The clean photo's largest face is blurred away; the one beside it is still there."""
    picture = Image.open(group)
    picture.paste(picture.crop((0, 0, 200, 200)).resize((2, 2)).resize((200, 200)), (0, 0))
    picture.save("lost.png")
    assert evaluate(group, "lost.png", "--json") == 1
    (photo,) = json.loads(capsys.readouterr().out)["photos"]
    assert photo["verdict"] == "not protected" and {answer["after"] for answer in photo["answers"]} == {None}


def test_known_photos_of_a_folder_are_found_by_name(put, capsys):
    for name, person in (("a.png", PROTECTED), ("b.png", WEAK)):
        put(f"in/{name}", person)
        put(f"known/{name}", person, which=1)
    protect("in", "-o", "out")
    Path("known/b.png").unlink()
    capsys.readouterr()
    assert evaluate("in", "out", "--known", "known", "--json") == 1
    one, other = json.loads(capsys.readouterr().out)["photos"]
    assert (one["known"], one["verdict"]) == ("known/a.png", "protected")
    assert other["problem"] == "there is no known photo of this name"
    assert evaluate("in", "out", "--known", "in/a.png") == 1  # nobody but a.png is known
    assert "in/b.png -> out/b.png: not recognised before protection either" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("none.png me.png", "there is no file or folder none.png: check the path."),
        ("in me.png", "in and me.png: give two photos or two folders."),
        ("me.png me.png in", "evaluate takes two photos or two folders, not in as well"),
        ("me.png me.png --known in", "--known in is a folder: give a photo of the person in me.png."),
        ("in twice", "have the same name: rename or remove one."),
        ("me.png me.png --far 0.5", "has no threshold at a false accept rate of 0.5"),
    ],
)
def test_wrong_arguments_of_evaluate(put, capsys, words, said):
    for name in ("me.png", "in/a.png", "twice/a.png", "twice/a.jpg"):
        put(name)
    assert evaluate(*words.split()) == 2
    assert said in capsys.readouterr().err


def test_ctrl_c_during_an_evaluation(put, monkeypatch, capsys):
    for name in ("a.png", "b.png"):
        put(f"in/{name}")
    original, calls = evaluation.compared, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(evaluation, "compared", interrupted)
    (Path("out")).mkdir()
    assert evaluate("in", "in", "--json") == 130
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["photos"]) == 1
    assert captured.err.splitlines()[-1] == "python -m amtgan_lib: interrupted: 1 of 2 photos compared."


# ---------------------------------------------------------------- names that are no text


def in_a_terminal_of(encoding, *words):
    """A command in a process of its own whose stdout takes only what ``encoding`` has: status, stdout and stderr."""
    call = [sys.executable, "-m", "amtgan_lib", *words]
    changed = {"PYTHONIOENCODING": f"{encoding}:strict", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, capture_output=True, env=os.environ | changed, timeout=500)
    return done.returncode, done.stdout, done.stderr


def with_a_stdout_of(encoding, *words):
    """The same in this process."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, "strict", write_through=True) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        status = command_line.main(list(words))
    return status, *(stream.buffer.getvalue() for stream in streams)


@pytest.mark.parametrize(
    ("typed", "encoding"),
    [
        (with_a_stdout_of, "ascii"),
        slow(in_a_terminal_of, "ascii"),
        slow(in_a_terminal_of, "utf-8"),
    ],
)
def test_a_name_that_cannot_be_shown_does_not_stop_the_photos_after_it(put, typed, encoding):
    strange = os.fsdecode(b"a\xff\xc3\xa9.png")  # a byte that is not UTF-8, and an é
    for name in (strange, "b.png"):
        put(f"in/{name}")
    status, out, err = typed(encoding, "protect", "in", "-o", "out", "--generator", DRAWN)
    assert (status, err) == (0, b"") and tree("out") == [strange, "b.png"]
    assert b"[1/2] in/a\\udcff" in out and b"[2/2] in/b.png: 1 face protected" in out
    status, out, _ = typed(encoding, "evaluate", "in", "out", "--ask", "drawn", "--json")
    told = json.loads(out)
    assert status == 0 and [photo["clean"] for photo in told["photos"]] == [f"in/{strange}", "in/b.png"]


# ---------------------------------------------------------------- real photos


@pytest.mark.mirror
def test_the_default_look_on_a_real_photo(mirror, here, capsys):
    manifest = datasets.available_manifest()
    london = [datasets.file_of(asset) for asset in manifest.loc[manifest["set"] == "london", "asset"][:12]]
    for name, file in (("me.png", london[0]), ("friend.png", london[-1])):
        Image.open(file).convert("RGB").resize((360, 360)).save(name)
    judges = recognizers.at_hand(recognizers.JUDGES)
    assert command_line.main(["protect", "me.png", "--json"]) == (0 if judges else outcomes.UNCONFIRMED)
    told = json.loads(capsys.readouterr().out)
    asked = [*judges, *recognizers.OPEN]
    assert asked == told["asked"]["recognisers"]
    assert asked == [answer["recogniser"] for answer in told["photos"][0]["faces"][0]["answers"]]
    assert told["photos"][0]["confirmed"] is bool(judges)
    assert sorted(told["asked"]["took_part"]) == sorted(recognizers.OPEN)
    words = ["protect", "me.png", "-o", "friend_like.png", "--target", "friend.png", "--impersonate"]
    command_line.main([*words, "--keep-recognised", "--json"])
    answers = json.loads(capsys.readouterr().out)["photos"][0]["faces"][0]["answers"]
    theirs = {name: recognizers.spec(name).thresholds[0.01] for name in asked}
    assert sum(answer["target"] > theirs[answer["recogniser"]] for answer in answers) >= 3
    assert faces.detect_one("friend_like.png")
    row = manifest[manifest["set"] == "london"].iloc[0]
    same = (manifest["person"] == row["person"]) & (manifest["part"] != row["part"])
    other = datasets.file_of(manifest.loc[same, "asset"].item())
    words = ["protect", "me.png", "-o", "known.png", "--known", str(other), "--quick", "--keep-recognised", "--json"]
    command_line.main(words)
    (face,) = json.loads(capsys.readouterr().out)["photos"][0]["faces"]
    assert face["known_faces"] == 1
    assert all(answer["threshold"] < answer["before"] < 0.99 and answer["after"] < 0.4 for answer in face["answers"])
    assert command_line.main(["evaluate", "me.png", "me_protected.png", "--ask", "edgeface_xs"]) == 0


# ---------------------------------------------------------------- training and reproduction


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """What the pipeline is asked to run; it makes one generator."""
    asked = []

    def run(preset, **options):
        texts = {name: value.text for name, value in options.pop("overrides").items()}
        asked.append((preset, options, texts))
        (tmp_path / "train" / "residual").mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / "residual" / "generator.safetensors").touch()
        return tmp_path

    monkeypatch.setattr(pipeline_commands, "run", run)
    return asked


def test_train_runs_the_first_three_notebooks_of_a_preset(runs, capsys, tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.touch()
    words = ["--preset", "open-small", "-p", "seed=1", "--run-id", "r", "--resume", "--resume-from", str(checkpoint)]
    assert command_line.main(["train", "--recipe", "residual", *words]) == 0
    ((preset, options, texts),) = runs
    assert preset == "open-small" and options["only"] == "01,02,03"
    assert options["run_id"] == "r" and options["resume"] is True
    assert texts == {"seed": "1", "03_train.recipe": "residual", "03_train.resume_from": str(checkpoint.resolve())}
    generator = tmp_path / "train" / "residual" / "generator.safetensors"
    assert f"python -m amtgan_lib protect PHOTO --generator {generator}" in capsys.readouterr().out


def test_train_without_options_trains_what_the_preset_trains(runs):
    assert command_line.main(["train"]) == 0
    assert command_line.main(["train", "--recipe", "residual", "corrected"]) == 0
    assert [texts for _, _, texts in runs] == [{}, {"03_train.recipe": "residual,corrected"}]
    assert {preset for preset, _, _ in runs} == {"procedural"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--recipe", "secret"], "invalid choice 'secret' for argument '--recipe'"),
        (["--resume-from", "c.pt"], "--resume-from takes the checkpoint of one recipe: name the recipe with --recipe."),
        (["--recipe", "residual", "--resume-from", "c.pt"], "--resume-from: there is no file c.pt."),
        (["-p", "seed"], "-p 'seed' is not NAME=VALUE."),
    ],
)
def test_wrong_arguments_of_train(runs, capsys, words, said):
    assert command_line.main(["train", *words]) == 2
    assert said in capsys.readouterr().err and not runs


def test_every_recipe_can_be_trained():
    assert set(pipeline_commands.Recipe.__args__) == set(recipes.RECIPES)


def test_a_training_s_parameters_fit_the_notebooks():
    """No fake here: the plan is made from the notebooks themselves."""
    from amtgan_lib.pipeline import presets
    from amtgan_lib.pipeline.parameters import Text

    for name in ("procedural", "any-target"):
        overrides = {"03_train.recipe": Text("residual"), "03_train.resume_from": Text("c.pt")}
        steps = presets.select(presets.plan(presets.load(name), overrides), "01,02,03")
        trained = [step.parameters for step in steps if step.notebook.name == "03_train"]
        assert [(each["recipe"], each["resume_from"]) for each in trained] == [("residual", "c.pt")]
        assert len(steps) == 3


def test_the_pipeline_runs_the_default_preset(runs):
    assert command_line.main(["pipeline", "--run-id", "latest", "--resume"]) == 0
    ((preset, options, texts),) = runs
    assert (preset, options["only"], options["run_id"], options["resume"], texts) == (
        "procedural",
        "",
        "latest",
        True,
        {},
    )


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_every_help_ends_with_examples_that_can_be_typed(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = command_line.COMMANDS[name]
    photos = ("me.jpg", "profile.jpg", "makeup.jpg", "friend.jpg", "group.jpg", "me_protected.png", "me_2019.jpg")
    for file in (*photos, "assets.zip", "card.yaml"):
        (tmp_path / file).touch()
    (tmp_path / "holiday").mkdir(), (tmp_path / "safer").mkdir()
    assert command_line.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert command.examples
    ran = []
    monkeypatch.setattr(command_line, "_deferred", lambda function: function)
    for words, what in command.examples:
        assert f"  python -m amtgan_lib {name} {words}".rstrip() + f"\n      {what}\n" in shown + "\n"
        ready(name, shlex.split(words.split(" > ")[0]), ran)
    assert len(ran) == len(command.examples)


def ready(name, words, ran):
    """Parse the words of an example as the command line would, and do not run it."""
    module, attribute = command_line.COMMANDS[name].target.split(":")
    target = getattr(__import__(module, fromlist=[attribute]), attribute)

    def deferred(function):
        import functools

        @functools.wraps(function)
        def bind(*args, **named):
            ran.append(function)

        return bind

    if isinstance(target, dict):
        tyro.extras.subcommand_cli_from_dict({key: deferred(each) for key, each in target.items()}, args=words)
    else:
        tyro.cli(deferred(target), args=words)
