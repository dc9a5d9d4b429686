"""The drawn world: names that say what is drawn, its manifest, and files that are drawn when they are missing."""

import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw

from amtgan_lib import assets, datasets, faces, images, paths, portraits
from amtgan_lib.datasets import drawn, prepare, with_files
from amtgan_lib.datasets.manifest import TEST_SHARE

pytestmark = pytest.mark.filterwarnings("ignore:SymbolDatabase")  # mediapipe, about its own code

BARE, MADE_UP = "drawn/p0003-mbare-s0006.png", "drawn/p0003-m0005-s0006.png"
LEVEL = 2 / 255


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty folder for raw photos."""
    monkeypatch.setattr(paths, "RAW", tmp_path)
    drawn.folder.cache_clear()
    yield tmp_path
    drawn.folder.cache_clear()


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return drawn.manifest()


def parse_name(asset: str) -> str:
    return asset.replace(".png", ".parse.png")


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", [0, 12, 2003, 12345])
@pytest.mark.parametrize("makeup", [None, 0, 35])
def test_a_name_says_what_it_was_made_of(person, makeup):
    name = drawn.name(person, makeup, 45)
    found = drawn.NAME.fullmatch(name).groups()
    assert found == (f"{person:04d}", "bare" if makeup is None else f"{makeup:04d}", "0045", None)
    assert drawn.name(int(found[0]), None if found[1] == "bare" else int(found[1]), int(found[2])) == name
    assert drawn.NAME.fullmatch(parse_name(name)).groups() == (*found[:3], ".parse")


def test_names_are_those_of_the_docstring():
    assert drawn.name(12, 3, 45) == "drawn/p0012-m0003-s0045.png"
    assert drawn.name(12, None, 45) == "drawn/p0012-mbare-s0045.png"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (BARE, True),
        (MADE_UP, True),
        (parse_name(MADE_UP), True),
        ("", False),
        ("drawn/p0003.png", False),
        ("p0003-mbare-s0006.png", False),
        ("drawn/p0003-mbare-s0006.jpg", False),
        ("drawn/p0003-mbare-s0006.parse.jpg", False),
        ("drawn/p0003-mnone-s0006.png", False),
        ("elsewhere/drawn/p0003-mbare-s0006.png", False),
        ("drawn/p0003-mbare-s0006.png.txt", False),
    ],
)
def test_drawn_names_are_told_from_others(name, expected):
    assert drawn.is_drawn(name) is expected


def test_the_truth_is_the_sources_moment_in_the_references_makeup():
    reference = "drawn/p1005-m0005-s2010.png"
    assert drawn.truth(BARE, reference) == MADE_UP
    assert drawn.truth(MADE_UP, "drawn/p1000-mbare-s2000.png") == BARE
    assert drawn.truth(BARE, BARE) == BARE


# --- the manifest -------------------------------------------------------------------------------------------------


def test_the_manifest_has_the_form_of_the_open_one(table):
    assert list(table.columns) == datasets.MANIFEST_COLUMNS
    assert not table.isna().any(axis=None) and table.index.tolist() == list(range(len(table)))
    assert table["asset"].map(drawn.is_drawn).all() and table["parse_asset"].map(drawn.is_drawn).all()
    assert (table["parse_asset"] == table["asset"].map(parse_name)).all()
    assert table["asset"].is_unique and (table["parse_order"] == "published").all()
    pd.testing.assert_frame_equal(drawn.manifest(), table)


def test_who_is_in_the_drawn_world(table):
    counts = table.groupby(["set", "part", "split"]).size().to_dict()
    assert counts == {
        ("drawn", "source", "train"): 117,
        ("drawn", "other", "train"): 117,
        ("drawn", "source", "test"): 63,
        ("drawn", "other", "test"): 63,
        ("drawn_target", "source", "train"): 4,
        ("drawn_target", "other", "train"): 4,
        ("drawn_makeup", "reference", "train"): 45,
        ("drawn_makeup", "reference", "test"): 15,
    }
    assert (drawn.PEOPLE, drawn.TARGETS, drawn.REFERENCES) == (180, 4, 60)


def test_no_person_is_in_two_splits_and_a_checksum_decides(table):
    assert (table.groupby("person")["split"].nunique() == 1).all()
    for person, rows in table.groupby("person"):
        kept = zlib.crc32(person.encode()) % TEST_SHARE == 0 and not person.startswith("drawn_target/")
        assert set(rows["split"]) == {"test" if kept else "train"}


def test_the_sets_share_no_person_and_no_moment(table):
    parts = table["asset"].str.extract(drawn.NAME)[[0, 1, 2]].set_axis(["number", "makeup", "moment"], axis=1)
    numbers = {name: set(rows["number"]) for name, rows in parts.groupby(table["set"])}
    assert sum(map(len, numbers.values())) == len(set().union(*numbers.values())) == 180 + 4 + 60
    assert parts["moment"].is_unique
    # One number, one person: the name in the table is that of the picture.
    assert (table["person"].str.rsplit("/").str[-1] == parts["number"]).all()
    made_up = parts["makeup"] != "bare"
    assert (made_up == (table["part"] == "reference")).all()
    assert parts["makeup"][made_up].is_unique


def test_the_experiment_finds_its_parts(table):
    pairs = datasets.test_pairs(table)
    assert len(pairs) == 63 and pairs["probe"].is_unique
    splits = table.set_index("asset")["split"]
    assert all((splits[pairs[column]] == "test").all() for column in ("source", "other", "reference"))
    assert datasets.world_of(table) is datasets.world("drawn")
    assert (datasets.world("drawn").people, datasets.world("drawn").targets) == ("drawn", "drawn_target")
    assert set(datasets.world("drawn").tests) <= set(table["set"])


def test_makeup_is_worn_by_people_without_beards(table):
    references = table.loc[table["part"] == "reference", "asset"].str.extract(drawn.NAME)
    assert (portraits.people(references[0].astype(int)).raw("masculine") < 0.5).all()
    assert references[1].astype(int).tolist() == list(range(drawn.REFERENCES))


def test_references_are_of_a_similar_complexion_in_turn():
    sources = [drawn.name(number, None, 0) for number in range(12)]
    references = [drawn.name(number, 0, 0) for number in range(1000, 1030)]
    complexion = portraits.people(range(1030)).raw("skin")
    chosen = [int(drawn.NAME.fullmatch(name)[1]) for name in drawn.matched(sources, references)]
    for position, number in enumerate(chosen):
        distances = (complexion[1000:1030] - complexion[position]).abs()
        assert distances.argsort().tolist().index(number - 1000) == position % 3
    assert drawn.matched(sources[:4], references[:1]) == references[:1] * 4
    nearest = [int(drawn.NAME.fullmatch(name)[1]) for name in drawn.matched(sources, references, choices=1)]
    gaps = [(complexion[chosen_from] - complexion[:12]).abs().mean() for chosen_from in (nearest, chosen)]
    assert gaps[0] < gaps[1]


def test_worlds_are_found_by_name(table, monkeypatch):
    pd.testing.assert_frame_equal(datasets.manifest_of("drawn"), table)
    monkeypatch.setattr(datasets, "available_manifest", lambda: "photographs")
    assert datasets.manifest_of("open") == "photographs"
    for find in (datasets.world, datasets.manifest_of):
        with pytest.raises(ValueError, match="there is no world 'painted'; there are drawn, open"):
            find("painted")


def test_photographs_are_of_the_open_world():
    assert datasets.world_of(pd.DataFrame({"set": ["mt", "london"]})) is datasets.world("open")


# --- drawing by name ----------------------------------------------------------------------------------------------


def test_a_name_draws_its_person_makeup_and_moment():
    both = drawn.draw([BARE, MADE_UP], 64)
    who, moment = portraits.people([3]), portraits.scenes([6])
    without = portraits.draw(who, portraits.no_makeup(1), moment, 64)
    worn = portraits.draw(who, portraits.makeups([5]), moment, 64)
    torch.testing.assert_close(both.image[0], without.image[0], rtol=0, atol=2 * LEVEL)
    torch.testing.assert_close(both.image[1], worn.image[0], rtol=0, atol=1e-4)
    assert (both.image[0] - both.image[1]).abs().max() > 20 * LEVEL
    assert torch.equal(both.parse[0], both.parse[1]) and torch.equal(both.points[0], both.points[1])


def test_a_name_draws_the_same_in_every_batch():
    names = [drawn.name(1, None, 2), MADE_UP, BARE, drawn.name(8, 0, 1)]
    batch = drawn.draw(names, 64)
    for index, name in enumerate(names):
        torch.testing.assert_close(drawn.draw([name], 64).image[0], batch.image[index], rtol=0, atol=1e-6)


# --- files --------------------------------------------------------------------------------------------------------


def test_a_missing_photo_is_drawn_with_its_parse_map(raw):
    found = drawn.files([MADE_UP])
    assert list(found) == [MADE_UP] and found[MADE_UP] == drawn.folder() / MADE_UP
    assert found[MADE_UP].is_relative_to(raw)
    portrait = drawn.draw([MADE_UP])
    with Image.open(found[MADE_UP]) as photo, Image.open(drawn.folder() / parse_name(MADE_UP)) as parse:
        assert np.array_equal(np.asarray(photo), images.to_uint8(portrait.image[0]))
        assert np.array_equal(np.asarray(parse), portrait.parse[0].numpy())
    assert sorted(file.name for file in found[MADE_UP].parent.iterdir()) == sorted(
        Path(name).name for name in (MADE_UP, parse_name(MADE_UP))
    )


def test_photos_of_another_size_have_a_folder_of_their_own(raw):
    (large,) = drawn.files([BARE], size=200).values()
    (usual,) = drawn.files([BARE]).values()
    assert large != usual and large.is_relative_to(drawn.folder(200)) and usual.is_relative_to(drawn.folder())
    sizes = []
    for file in (large, usual):
        with Image.open(file) as photo:
            sizes.append(photo.size)
    assert sizes == [(200, 200), (drawn.PHOTO_SIZE,) * 2]


def test_what_is_there_is_not_drawn_again(raw, monkeypatch):
    names = [BARE, parse_name(BARE), MADE_UP]
    first = drawn.files(names)
    times = {name: file.stat().st_mtime_ns for name, file in first.items()}
    monkeypatch.setattr(drawn, "draw", lambda *_: pytest.fail("drawn again"))
    assert drawn.files(names) == first
    assert {name: file.stat().st_mtime_ns for name, file in first.items()} == times
    assert datasets.file_of(BARE) == first[BARE]


@pytest.mark.parametrize("lost", [BARE, parse_name(BARE)])
def test_what_was_lost_is_drawn_again(raw, lost):
    found = drawn.files([BARE, parse_name(BARE)])
    before = {name: file.read_bytes() for name, file in found.items()}
    found[lost].unlink()
    drawn.files([lost])
    assert {name: file.read_bytes() for name, file in found.items()} == before


def test_an_interruption_leaves_no_photo_without_its_parse_map(raw, monkeypatch):
    save = images.save

    def interrupted(path, picture, **options):
        if ".parse." not in path.name:
            raise KeyboardInterrupt
        return save(path, picture, **options)

    with monkeypatch.context() as patch:
        patch.setattr(images, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            drawn.files([BARE])
    assert not (drawn.folder() / BARE).exists()
    assert all(file.exists() for file in drawn.files([BARE, parse_name(BARE)]).values())


def test_several_processes_draw_the_same(raw, monkeypatch):
    """They get the folder from here: a process that starts anew knows nothing of other settings."""
    names, seen = [BARE, MADE_UP], []
    monkeypatch.setattr(drawn, "CHUNK", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)

    def progress(chunks):
        for chunk in chunks:
            seen.append(list(chunk))
            yield chunk

    found = drawn.files(names, progress)
    assert seen == [[MADE_UP], [BARE]]  # sorted
    for name, image in zip(names, drawn.draw(names).image):
        with Image.open(found[name]) as photo:
            assert np.array_equal(np.asarray(photo), images.to_uint8(image))


def test_other_drawing_code_has_another_folder(raw, tmp_path, monkeypatch):
    copy = tmp_path / "portraits"
    shutil.copytree(Path(portraits.__file__).parent, copy)
    before = drawn.folder()
    assert re.fullmatch(r"drawn-[0-9a-f]{10}", before.name) and before.parent == raw

    def folder() -> Path:
        drawn.folder.cache_clear()
        return drawn.folder()

    monkeypatch.setattr(portraits, "__file__", str(copy / "__init__.py"))
    assert folder() == before  # the place of the code does not matter
    for file in ("hair.py", "palette.py"):
        code = copy / file
        code.write_text(code.read_text() + "\n# another state\n")
        assert folder() != before
        before = folder()
    monkeypatch.setattr(drawn, "PHOTO_SIZE", 66)
    assert folder() != before


# --- pairs and prepared crops -------------------------------------------------------------------------------------


def test_pairs_of_drawn_faces_get_files_and_the_truth(raw):
    reference = drawn.name(1005, 5, 2010)
    pairs = with_files(pd.DataFrame({"person": ["drawn/0003"], "source": [BARE], "reference": [reference]}))
    (row,) = pairs.to_dict("records")
    assert row["person"] == "drawn/0003"
    for column, asset in (("source", BARE), ("reference", reference), ("truth", MADE_UP)):
        assert row[column] == str(drawn.folder() / asset) and Path(row[column]).exists()


def test_pairs_of_photographs_have_no_truth(tmp_path, monkeypatch):
    photos = [assets.Asset("o/r", "c0ffee", f"{n}.png", 1, "0" * 64, "", "", "mt_makeup") for n in "ab"]
    monkeypatch.setattr(assets, "table", lambda: tuple(photos))
    monkeypatch.setattr(assets, "fetch_many", lambda wanted, **_: [tmp_path / one.path for one in wanted])
    pairs = with_files(pd.DataFrame({"source": [photos[0].relative], "reference": [photos[1].relative]}))
    assert pairs.to_dict("records") == [
        {"source": str(tmp_path / "a.png"), "reference": str(tmp_path / "b.png"), "truth": ""}
    ]


def test_drawn_people_are_prepared_with_the_masks_of_their_parse_maps(raw, table, monkeypatch):
    pytest.importorskip("mediapipe")
    chosen = table[table["part"] == "source"].head(3).reset_index(drop=True)
    # One map that no mesh would give: everything is lip.
    odd = drawn.files([chosen["parse_asset"][2]])[chosen["parse_asset"][2]]
    Image.new("L", (drawn.PHOTO_SIZE, drawn.PHOTO_SIZE), 7).save(odd)
    made = prepare(chosen, raw / "prepared" / "drawn.npz", 96)
    pd.testing.assert_frame_equal(made.manifest, chosen)
    assert pd.read_csv(raw / "prepared" / "drawn.problems.csv").empty
    assert made.masks[2, 0].mean() > 0.95 and not made.masks[2, 1:].any()
    for index in (0, 1):
        outline = Image.new("1", (96, 96))
        ImageDraw.Draw(outline).polygon([(x, y) for y, x in made.landmarks[index, 48:60].tolist()], fill=1)
        lips, outline = made.masks[index, 0], np.asarray(outline)
        assert (lips & outline).sum() / (lips | outline).sum() > 0.5
        assert made.masks[index, 1].sum() > 10 * lips.sum() > 0 and made.masks[index, 2].any()
    again = datasets.load(raw / "prepared" / "drawn.npz")
    assert again.where(set="drawn").masks.shape == (3, 3, 96, 96)
    crops = datasets.parsed_crops(chosen)
    assert torch.equal(
        crops(drawn.files([chosen["asset"][2]])[chosen["asset"][2]], 96).masks, again.batch([2]).masks[0]
    )
    stranger = drawn.files(["drawn/p0003-mbare-s0099.png"])["drawn/p0003-mbare-s0099.png"]
    assert torch.equal(crops(stranger, 96).masks, faces.detect_one(stranger, 96).masks)  # those of the mesh
    crop = datasets.file_crop(chosen, chosen["asset"][0], 96)
    assert isinstance(crop, faces.FaceCrop) and np.array_equal(crop.masks.numpy().astype(bool), made.masks[0])


# --- what does not fit is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", ["celeba/12.jpg", "drawn/p12.png", ""])
def test_a_name_that_is_none_of_a_drawn_photo_is_refused(refused):
    with pytest.raises(ValueError, match=r"is no name of a drawn photo such as 'drawn/p0012-m0003-s0045.png'"):
        drawn.draw([refused])
    with pytest.raises(ValueError, match="is no name of a drawn photo"):
        drawn.truth(BARE, refused)


@pytest.mark.parametrize("numbers", [(-1, None, 0), (0, -1, 0), (0, None, -1)])
def test_negative_numbers_are_refused(numbers):
    with pytest.raises(ValueError, match="have numbers from 0 on"):
        drawn.name(*numbers)


def stored(path, **changes):
    """The smallest npz that ``datasets.load`` reads."""
    manifest = pd.DataFrame([["drawn", "drawn/0", "source", "train", BARE, "", ""]], columns=datasets.MANIFEST_COLUMNS)
    arrays = {"images": np.zeros((1, 8, 8, 3), np.uint8), "masks": np.zeros((1, 3, 8, 8), bool)}
    arrays |= {"landmarks": np.zeros((1, 68, 2)), "points": np.zeros((1, 5, 2))}
    known = {"manifest": np.array(manifest.to_csv(index=False)), "drawings": np.array(drawn.folder().name)}
    np.savez(path, **{**known, **arrays, **changes})
    return path


def test_drawn_faces_meet_the_recognisers_of_their_world_only(tmp_path):
    file = stored(tmp_path / "faces.npz")
    assert len(datasets.load(file)) == len(datasets.load(file, "drawn")) == 1
    with pytest.raises(ValueError, match=r"faces.npz holds drawn faces: take a zoo of drawn, not open"):
        datasets.load(file, "open")


def test_faces_prepared_from_other_drawings_are_refused(tmp_path):
    file = stored(tmp_path / "faces.npz", drawings=np.array("drawn-0123456789"))
    with pytest.raises(ValueError, match="other drawings than these: run notebook 01_prepare_data again"):
        datasets.load(file)
