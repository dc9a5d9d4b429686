import hashlib
import shutil
from dataclasses import replace

import fakes
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from amtgan_lib import assets, datasets, faces
from amtgan_lib.assets import Asset, AssetError
from amtgan_lib.datasets import FaceBatch, FaceSet, load, open_manifest, prepare
from amtgan_lib.faces import FaceError
from amtgan_lib.images import PhotoError, to_tensor

pytestmark = pytest.mark.filterwarnings("ignore:SymbolDatabase")  # mediapipe, about its own code

SIZE = 16
SSAT, SCGAN, BEAUTY = "Snowfallingplum/SSAT", "makeuptransfer/SCGAN", "Honlan/BeautyGAN"


def asset(group, path, repository="owner/repo", role="photo"):
    return Asset(repository, "c0ffee", path, 1, "0" * 64, "licence", role, group)


def celeba(number):
    folder = "assets/datasets/CelebA-HQ-500_pairs"
    return [asset("celeba_hq", f"{folder}/{part}_align/{part}_{number}.png") for part in ("train", "test")]


def london(number):
    paths = (f"inst/neutral_front/{number}_03.jpg", f"inst/smiling_front/{number}_08.jpg")
    return [asset("london", path) for path in paths]


def makeup(name, repository=SSAT, folder="examples/images/makeup"):
    return asset("mt_makeup", f"{folder}/{name}.png", repository)


def mask(name, repository=SSAT, role="parsing mask"):
    folder = "MT-Dataset/parsing/makeup" if repository == SCGAN else "examples/seg1/makeup"
    return asset("mt_masks", f"{folder}/{name}.png", repository, role)


def only(table):
    (row,) = table.to_dict("records")
    return row


def faces_of(*skins):
    """A set of faces of these colours, on a background that differs from face to face."""
    images = np.zeros((len(skins), 4, 4, 3), np.uint8)
    images[:, 2:] = np.random.default_rng(0).integers(0, 256, (len(skins), 2, 4, 3))
    images[:, :2] = np.array(skins)[:, None, None]
    masks = np.zeros((len(skins), 3, 4, 4), bool)
    masks[:, 1, :2] = True
    places = [np.zeros((len(skins), count, 2)) for count in (68, 5)]
    return FaceSet(pd.DataFrame({"asset": range(len(skins))}), images, masks, *places)


def test_references_of_similar_skin_are_found_whatever_is_behind_them():
    light, tanned, brown, dark = (240, 200, 180), (200, 160, 130), (130, 90, 70), (60, 40, 30)
    found = datasets.alike(faces_of(dark, light, tanned), faces_of(brown, light, dark, tanned), 2)
    assert found.tolist() == [[2, 0], [1, 3], [3, 1]]
    assert datasets.alike(faces_of(dark), faces_of(light, tanned), 9).tolist() == [[1, 0]], "there are only two"


# --- the manifest -------------------------------------------------------------------------------------------------


def test_the_parts_of_the_photos():
    targets = [
        asset("paper_targets", f"assets/{folder}_images/{name}.jpg")
        for folder, name in (("target", "005869"), ("test", "008793"), ("target", "169284"), ("test", "166607"))
    ]
    plain = asset("mt_no_makeup", "MT-Dataset/images/non-makeup/xfsy_0444.png", SCGAN)
    landmarks = asset("london", "inst/neutral_front/001_03.tem")
    table = open_manifest([*celeba(7), *london("001"), landmarks, *targets, makeup("XMY-078"), plain])
    assert list(table.columns) == datasets.MANIFEST_COLUMNS
    found = set(zip(table["set"], table["person"], table["part"], strict=True))
    assert found == {
        ("celeba_hq", "celeba_hq/7", "source"),
        ("celeba_hq", "celeba_hq/7", "other"),
        ("london", "london/001", "source"),
        ("london", "london/001", "other"),
        ("celeba_hq_target", "celeba_hq_target/005869", "target"),
        ("celeba_hq_target", "celeba_hq_target/005869", "target_metric"),  # 008793 is the same person
        ("celeba_hq_target", "celeba_hq_target/169284", "target"),
        ("celeba_hq_target", "celeba_hq_target/169284", "target_metric"),
        ("mt", "mt/XMY-078", "reference"),
        ("mt", "mt/xfsy_0444", "plain"),
    }
    assert (table[["parse_asset", "parse_order"]] == "").all(None)


def test_a_persons_split_depends_on_the_person_alone():
    people = [photo for number in range(60) for photo in celeba(number)] + [makeup(f"vFG{n}") for n in range(60)]
    whole = open_manifest(people).set_index("asset")["split"]
    part = open_manifest(people[::-3]).set_index("asset")["split"]
    assert len(part) == 60
    pd.testing.assert_series_equal(part, whole[part.index])
    by_person = open_manifest(people).groupby("person")["split"].nunique()
    assert (by_person == 1).all()


def test_splits_as_they_have_always_been():
    table = open_manifest([photo for number in range(1, 7) for photo in celeba(number)] + [makeup("vFG112")])
    splits = table.drop_duplicates("person").set_index("person")["split"]
    assert splits.to_dict() == {
        "celeba_hq/1": "train",
        "celeba_hq/2": "test",
        "celeba_hq/3": "train",
        "celeba_hq/4": "train",
        "celeba_hq/5": "train",
        "celeba_hq/6": "test",
        "mt/vFG112": "train",
    }


def test_about_a_third_is_kept_for_the_test():
    splits = open_manifest([photo for number in range(500) for photo in celeba(number)])["split"]
    assert 0.28 < (splits == "test").mean() < 0.39


def test_the_order_of_the_photos_does_not_matter():
    photos = [*celeba(3), *london("002"), *celeba(1), makeup("b"), makeup("a"), makeup("a", BEAUTY)]
    masks = [mask("a"), mask("b")]
    expected = open_manifest(photos, masks)
    pd.testing.assert_frame_equal(open_manifest(photos[::-1], masks[::-1]), expected)
    assert expected["person"].is_monotonic_increasing


def test_a_photo_in_two_repositories_is_one_row_and_the_mask_decides_which():
    copies = [makeup("a", BEAUTY, "imgs/makeup"), makeup("a")]
    for photos in (copies, copies[::-1]):
        row = only(open_manifest(photos, [mask("a")]))
        assert row["asset"].startswith(SSAT) and row["parse_asset"].startswith(SSAT)
        assert only(open_manifest(photos))["asset"].startswith(BEAUTY)  # the first by name


def test_a_copy_without_its_own_mask_takes_the_others():
    row = only(open_manifest([makeup("a", BEAUTY, "imgs/makeup")], [mask("a")]))
    assert row["asset"].startswith(BEAUTY) and row["parse_asset"].startswith(SSAT)


def test_the_role_of_a_mask_tells_its_order():
    photos = [makeup("a"), makeup("b", SCGAN, "MT-Dataset/images/makeup")]
    masks = [mask("a"), mask("b", SCGAN, "parsing mask, original label order")]
    assert open_manifest(photos, masks)["parse_order"].tolist() == ["parsing19", "mt"]


def test_masks_belong_to_makeup_photos_only():
    photo = asset("london", "inst/neutral_front/001_03.jpg")
    assert only(open_manifest([photo], [mask("001_03")]))["parse_asset"] == ""


def test_an_empty_manifest():
    table = open_manifest([])
    assert len(table) == 0 and list(table.columns) == datasets.MANIFEST_COLUMNS


# --- sets and batches ---------------------------------------------------------------------------------------------


def face_set(rows):
    """A set with random arrays: rows of (set, person, part, split)."""
    rng, count = np.random.default_rng(0), len(rows)
    table = pd.DataFrame(rows, columns=["set", "person", "part", "split"])
    table["asset"] = [f"asset-{i}" for i in range(count)]
    return FaceSet(
        table.assign(parse_asset="", parse_order=""),
        rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8),
        rng.integers(0, 2, (count, 3, SIZE, SIZE)).astype(bool),
        rng.integers(0, SIZE, (count, 68, 2)).astype(np.float32),
        rng.random((count, 5, 2)).astype(np.float32) * SIZE,
    )


@pytest.fixture
def example():
    return face_set(
        [
            ("celeba_hq", "celeba_hq/1", "other", "test"),
            ("celeba_hq", "celeba_hq/1", "source", "test"),
            ("celeba_hq", "celeba_hq/2", "other", "train"),
            ("celeba_hq", "celeba_hq/2", "source", "train"),
            ("celeba_hq_target", "celeba_hq_target/9", "target", "train"),
            ("celeba_hq_target", "celeba_hq_target/9", "target_metric", "train"),
            ("london", "london/001", "other", "train"),
            ("london", "london/001", "source", "train"),
            ("london", "london/002", "source", "train"),
            ("mt", "mt/a", "reference", "train"),
            ("mt", "mt/b", "reference", "test"),
            ("mt", "mt/c", "plain", "train"),
        ]
    )


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FaceBatch.__dataclass_fields__)


def test_a_batch_is_what_was_stored(example):
    batch = example.batch([3, 0])
    assert len(batch) == 2
    assert batch.image.shape == (2, 3, SIZE, SIZE) and batch.image.dtype == torch.float32
    torch.testing.assert_close(batch.image[0], to_tensor(example.images[3]), rtol=0, atol=0)
    torch.testing.assert_close(batch.masks[1], torch.from_numpy(example.masks[0]).float())
    torch.testing.assert_close(batch.landmarks[0], torch.from_numpy(example.landmarks[3]))
    torch.testing.assert_close(batch.points[1], torch.from_numpy(example.points[0]))
    assert same(example.batch(), example.batch(range(12)))
    assert same(example.batch(slice(2, 5)), example.batch([2, 3, 4]))


def test_a_batch_is_selected_as_one_and_moved_all_but_its_points(example):
    batch = example.batch()
    assert same(batch[[1, 4]], example.batch([1, 4]))
    assert len(batch[batch.points[:, 0, 0] > 1e9]) == 0
    meta = batch.to("meta")
    devices = {name: getattr(meta, name).device.type for name in FaceBatch.__dataclass_fields__}
    assert devices == {"image": "meta", "masks": "meta", "landmarks": "meta", "points": "cpu"}
    assert torch.equal(meta.points, batch.points)
    both = FaceBatch.joined(batch[[1]], batch[[4]])
    assert same(both, batch[[1, 4]])


def test_where_and_rows_keep_tables_and_arrays_together(example):
    chosen = example.where(part="source", split="train")
    assert chosen.manifest["asset"].tolist() == ["asset-3", "asset-7", "asset-8"]
    assert chosen.manifest.index.tolist() == [0, 1, 2]
    assert same(chosen.batch(), example.batch([3, 7, 8]))
    backwards = chosen.rows(np.array([2, 0]))
    assert backwards.manifest["asset"].tolist() == ["asset-8", "asset-3"]
    assert same(backwards.batch(), example.batch([8, 3]))
    assert len(example.where(part="nothing")) == 0
    with pytest.raises(KeyError):
        example.where(colour="red")


def test_resized_faces_keep_their_places(example):
    half = example.resized(SIZE // 2)
    assert half.size == SIZE // 2 and half.masks.shape[-1] == SIZE // 2
    blocks = example.images[0].astype(float).reshape(8, 2, 8, 2, 3).mean((1, 3))
    assert np.abs(half.images[0] - blocks).max() <= 1
    # The centre of a block of two by two pixels becomes the centre of one.
    points = replace(example, points=np.full((12, 5, 2), 4.5, np.float32)).resized(SIZE // 2).points
    assert np.unique(points).tolist() == [2.0]
    assert example.resized(SIZE) is example


# --- preparing ----------------------------------------------------------------------------------------------------

MAKEUP = [makeup(name) for name in ("a", "b", "c")]


def crop(value, size, name="photo"):
    """A crop that can be told from others: the first number of its points, too, is its own."""
    points = fakes.crop_points(size)
    return faces.FaceCrop(
        torch.full((3, size, size), value / 127.5 - 1),
        torch.full((68, 2), float(value)),
        points - points[0, 0] + value + 0.5,
        torch.ones(3, size, size),
        np.eye(3)[:2],
        (0, 0, 1, 1),
        name,
    )


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Three photos a, b and c with one face each but b, and the crops that "detection" finds in them."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    files = []
    for value, photo in zip((10, 20, 30), MAKEUP, strict=True):
        files.append(folder / photo.path.rsplit("/", 1)[1])
        Image.new("RGB", (20, 20), (value, 0, 0)).save(files[-1])

    def detect_one(photo, size):
        value = int(photo.rgb[0, 0, 0])
        if value == 20:
            raise FaceError(f"{photo.name}: no face was found")
        return crop(value, size, photo.name)

    monkeypatch.setattr(assets, "table", lambda: tuple(MAKEUP))
    monkeypatch.setattr(assets, "fetch_many", lambda wanted, **_: [files[MAKEUP.index(one)] for one in wanted])
    monkeypatch.setattr(faces, "detect_one", detect_one)
    return open_manifest(MAKEUP)


def test_a_prepared_set_is_read_back_as_it_was(photos, tmp_path):
    path = tmp_path / "prepared" / "open.npz"
    made = prepare(photos, path, SIZE)
    again = load(path)
    assert made.manifest["person"].tolist() == ["mt/a", "mt/c"]
    pd.testing.assert_frame_equal(again.manifest, made.manifest)
    assert same(again.batch(), made.batch())
    assert again.images[:, 0, 0, 0].tolist() == [10, 30]
    assert again.landmarks[:, 0, 0].tolist() == [10, 30] and again.points[:, 0, 0].tolist() == [10.5, 30.5]
    assert (again.images.dtype, again.masks.dtype) == (np.uint8, bool)
    assert sorted(file.name for file in path.parent.iterdir()) == ["open.npz", "open.problems.csv"]


def test_a_photo_without_a_face_is_left_out_and_listed(photos, tmp_path):
    prepare(photos, tmp_path / "open.npz", SIZE)
    listed = only(pd.read_csv(tmp_path / "open.problems.csv"))
    assert listed["asset"].endswith("/b.png")
    assert listed["problem"] == "b.png: no face was found"


def test_a_damaged_photo_is_left_out_and_listed(photos, tmp_path):
    (tmp_path / "mirror" / "a.png").write_bytes(b"half a picture")
    assert prepare(photos, tmp_path / "open.npz", SIZE).manifest["person"].tolist() == ["mt/c"]
    assert "not an image" in pd.read_csv(tmp_path / "open.problems.csv")["problem"][0]


def test_a_set_without_any_face_is_an_error_and_no_file(photos, tmp_path):
    with pytest.raises(FaceError, match="none of the 1 photos"):
        prepare(photos[photos["person"] == "mt/b"], tmp_path / "open.npz", SIZE)
    assert [file.name for file in tmp_path.iterdir()] == ["mirror"]


def test_a_photo_that_cannot_be_had_is_an_error_and_no_file(photos, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise AssetError("not at hand")

    monkeypatch.setattr(assets, "fetch_many", offline)
    with pytest.raises(AssetError, match="not at hand"):
        prepare(photos, tmp_path / "open.npz", SIZE)
    assert [file.name for file in tmp_path.iterdir()] == ["mirror"]


def test_a_manifest_of_strangers_is_refused(photos, tmp_path):
    with pytest.raises(AssetError, match=r"elsewhere\.png is in no table of assets"):
        prepare(photos.assign(asset="elsewhere.png"), tmp_path / "open.npz", SIZE)


@pytest.mark.parametrize("moment", ["between photos", "while writing", "before a move", "before the last move"])
def test_an_interrupted_run_leaves_the_old_set(moment, photos, tmp_path, monkeypatch):
    path = tmp_path / "prepared" / "open.npz"
    prepare(photos[photos["person"] == "mt/a"], path, SIZE)
    before = path.read_bytes()

    def interrupted_photos(rows):
        yield rows[0]
        raise KeyboardInterrupt

    def half_written(partial, **_):
        partial.write_bytes(b"half")
        raise KeyboardInterrupt

    def interrupted_move(source, target):
        if moment == "before a move" or str(target).endswith(".npz"):
            raise KeyboardInterrupt
        shutil.move(source, target)

    if moment == "while writing":
        monkeypatch.setattr(np, "savez", half_written)
    if "move" in moment:
        monkeypatch.setattr("os.replace", interrupted_move)
    with pytest.raises(KeyboardInterrupt):
        prepare(photos, path, SIZE, interrupted_photos if moment == "between photos" else iter)
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["open.npz", "open.problems.csv"]


def test_progress_sees_every_photo(photos, tmp_path):
    seen = []

    def progress(rows):
        for row in rows:
            seen.append(row["person"])
            yield row

    prepare(photos, tmp_path / "open.npz", SIZE, progress)
    assert seen == ["mt/a", "mt/b", "mt/c"]


def test_a_set_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="run notebook 01_prepare_data first"):
        load(tmp_path / "open.npz")


def test_a_parse_map_gives_the_masks(tmp_path, monkeypatch):
    picture, parse_map = tmp_path / "a.png", tmp_path / "map.png"
    Image.new("RGB", (20, 20)).save(picture)
    Image.new("L", (40, 40), 12).save(parse_map)
    files = {photo.relative: file for photo, file in ((MAKEUP[0], picture), (mask("a"), parse_map))}
    monkeypatch.setattr(assets, "table", lambda: (MAKEUP[0], mask("a")))
    monkeypatch.setattr(assets, "fetch_many", lambda wanted, **_: [files[one.relative] for one in wanted])
    monkeypatch.setattr(faces, "detect_one", lambda photo, size: crop(0, size))
    prepared = prepare(open_manifest(MAKEUP[:1], [mask("a")]), tmp_path / "open.npz", SIZE)
    assert prepared.masks[0].mean((1, 2)).tolist() == [1, 0, 0]  # all lips
    files_of = datasets.with_files(pd.DataFrame({"source": [MAKEUP[0].relative], "reference": [mask("a").relative]}))
    assert only(files_of) == {"source": str(picture), "reference": str(parse_map), "truth": ""}


def imported(name, folder="images/makeup", of="mt"):
    role = "parsing mask" if folder.startswith("segs") else "makeup photo"
    group = f"{of}_archive" + ("_masks" if folder.startswith("segs") else "")
    path = f"{folder}/{name}.png"
    return Asset(f"imported/{of}", "archive", path, 1, "0" * 64, "licence", role, group, pinned=False)


def test_imported_makeup_takes_the_place_of_the_open_makeup(monkeypatch):
    at_hand = [*celeba(1), *london("001"), makeup("a"), imported("b"), imported("c", "images/non-makeup")]
    at_hand += [imported("b", "segs/makeup"), imported("b", of="ladn")]
    monkeypatch.setattr(assets, "table", lambda: tuple(at_hand))
    monkeypatch.setattr(assets, "groups", lambda: tuple({one.group for one in at_hand}))
    monkeypatch.setattr(assets, "available", lambda group: [one for one in at_hand if one.group == group])
    table = datasets.manifest_of("imported")
    assert table["person"].tolist() == [*2 * ["celeba_hq/1"], *2 * ["london/001"], "ladn/b", "mt/b", "mt/c"]
    assert table["part"].tolist()[4:] == ["reference", "reference", "plain"]
    assert table["parse_asset"].tolist()[4:] == ["", "imported/mt/archive/segs/makeup/b.png", ""]
    assert datasets.world_of(table) is datasets.world("open")
    del at_hand[3:]
    with pytest.raises(AssetError, match=r"No makeup photos were imported: .*assets import ARCHIVE"):
        datasets.manifest_of("imported")


@pytest.mark.parametrize("order", [*faces.PARSE_ORDERS, "none"])
def test_the_order_of_an_imported_parse_map_is_read_off_it(order, tmp_path, monkeypatch):
    """Lips above skin above nothing, in a photo of 20 pixels; a map that shows neither leaves the photo out."""
    lips, skin = faces.PARSE_ORDERS.get(order, ((17,), (18,)))
    classes = np.zeros((40, 40), np.uint8)
    classes[:10], classes[10:20] = lips[0], skin[0]
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    Image.fromarray(classes).convert("RGB").save(tmp_path / "map.png")
    photo, parse_map = imported("a"), imported("a", "segs/makeup")
    files = {photo.relative: tmp_path / "a.png", parse_map.relative: tmp_path / "map.png"}
    monkeypatch.setattr(assets, "table", lambda: (photo, parse_map))
    monkeypatch.setattr(assets, "fetch_many", lambda wanted, **_: [files[one.relative] for one in wanted])
    masks = torch.zeros(3, SIZE, SIZE)
    masks[0, : SIZE // 4] = masks[1, SIZE // 4 : SIZE // 2] = 1
    found = replace(crop(0, SIZE), masks=masks, landmarks=torch.full((68, 2), 100.0), matrix=np.eye(2, 3) * 20 / SIZE)
    monkeypatch.setattr(faces, "detect_one", lambda photo, size: found)
    table = open_manifest([photo], [parse_map])
    if order == "none":
        with pytest.raises(FaceError, match="none of the 1 photos"):
            prepare(table, tmp_path / "imported.npz", SIZE)
    else:
        read = prepare(table, tmp_path / "imported.npz", SIZE).masks[0]
        assert (read == masks.numpy().astype(bool)).mean() > 0.95


@pytest.mark.parametrize("content", [b"", b"half a picture"])
def test_a_parse_map_that_cannot_be_read_leaves_its_photo_out(content, photos, tmp_path, monkeypatch):
    (tmp_path / "map.png").write_bytes(content)
    known, parse_map = assets.fetch_many, imported("c", "segs/makeup")
    monkeypatch.setattr(assets, "table", lambda: (*MAKEUP, parse_map))
    monkeypatch.setattr(
        assets,
        "fetch_many",
        lambda wanted, **_: [tmp_path / "map.png" if one is parse_map else known([one])[0] for one in wanted],
    )
    made = prepare(open_manifest(MAKEUP, [parse_map]), tmp_path / "open.npz", SIZE)
    assert made.manifest["person"].tolist() == ["mt/a"]
    problems = pd.read_csv(tmp_path / "open.problems.csv")["problem"].tolist()
    assert problems[1].startswith("map.png: this parse map cannot be read")


# --- parts of an experiment ---------------------------------------------------------------------------------------


def test_the_default_target_is_a_london_person_with_both_photos(example):
    assert datasets.default_target(example) == "london/001"
    with pytest.raises(FaceError, match="has both photos here, so there is no target"):
        datasets.default_target(example.where(set="mt"))


def test_training_sees_neither_test_people_nor_the_targets_other_photo(example):
    loss, sources, references = datasets.training_parts(example, "london/001")
    assert same(loss, example.batch([7]))
    assert sources.manifest["asset"].tolist() == ["asset-2", "asset-3", "asset-8", "asset-11"]
    assert references.manifest["asset"].tolist() == ["asset-9"]
    assert datasets.target_photo(example, "london/001").manifest["asset"].tolist() == ["asset-6"]
    with pytest.raises(FaceError, match="training needs a photo of london/999"):
        datasets.training_parts(example, "london/999")
    with pytest.raises(FaceError, match="makeup references; have 0"):
        datasets.training_parts(example.where(set="london"), "london/001")


def test_a_target_of_the_paper_has_two_photos(example):
    loss, sources, _ = datasets.training_parts(example, "celeba_hq_target/9")
    assert same(loss, example.batch([4]))
    assert "celeba_hq_target" not in set(sources.manifest["set"])
    assert datasets.target_photo(example, "celeba_hq_target/9").manifest["asset"].tolist() == ["asset-5"]


def test_pairs_for_the_test(example):
    pairs = datasets.test_pairs(example.manifest)
    assert only(pairs) == {
        "probe": "celeba_hq-1.png",
        "person": "celeba_hq/1",
        "source": "asset-1",
        "other": "asset-0",
        "reference": "asset-10",
    }
    with pytest.raises(FaceError, match="have 1 and 0"):
        datasets.test_pairs(example.manifest[example.manifest["set"] != "mt"])


def test_adversaries_learn_from_pairs_of_training_people(example):
    pairs, tested = datasets.test_pairs(example.manifest, split="train"), datasets.test_pairs(example.manifest)
    assert {only(pairs)["source"], only(pairs)["other"]} == {"asset-2", "asset-3"}
    assert only(pairs)["reference"] == "asset-9" and not set(pairs["person"]) & set(tested["person"])


def test_references_take_turns():
    rows = [("celeba_hq", f"celeba_hq/{n}", part, "test") for n in range(5) for part in ("source", "other")]
    rows += [("mt", f"mt/{name}", "reference", "test") for name in "ab"]
    table = face_set(rows).manifest
    pairs = datasets.test_pairs(table, 3)
    assert pairs["reference"].tolist() == ["asset-10", "asset-11", "asset-10"]
    assert len(datasets.test_pairs(table)) == 5
    assert len(datasets.test_pairs(table[table["asset"] != "asset-1"])) == 4  # a person without a second photo


def test_targets_share_the_people_out_or_have_them_all():
    rows = [("celeba_hq", f"celeba_hq/{n}", part, "test") for n in range(7) for part in ("source", "other")]
    aims = [f"celeba_hq_target/{name}" for name in "abc"]
    rows += [("celeba_hq_target", aim, part, "train") for aim in aims for part in ("target", "target_metric")]
    table = face_set([*rows, ("mt", "mt/a", "reference", "test"), ("mt", "mt/b", "reference", "test")]).manifest
    everybody = datasets.test_pairs(table)
    shares = [datasets.test_pairs(table, 0, aim, "groups") for aim in aims]
    pd.testing.assert_frame_equal(pd.concat(shares, ignore_index=True), everybody)
    assert sorted(map(len, shares)) == [2, 2, 3]
    pd.testing.assert_frame_equal(datasets.test_pairs(table, 0, aims[1], "all"), everybody)
    for wrong in ((aims[0], "group"), ("london/001", "groups")):
        with pytest.raises(ValueError, match="pairing is"):
            datasets.test_pairs(table, 0, *wrong)


def test_a_limited_manifest_keeps_whole_people(example):
    table = example.manifest
    assert len(datasets.limited(table, 0)) == len(table)
    one = datasets.limited(table, 1)
    assert set(one["person"]) == {"celeba_hq/1", "celeba_hq/2", "celeba_hq_target/9", "london/001", "mt/a", "mt/b"}
    assert len(one) == 10
    assert one.index.tolist() == list(range(10))


def test_what_was_found_is_counted(example):
    table = datasets.found_table(example.manifest, example.where(set="london"))
    assert table.loc["london"].tolist() == [3, 3]
    assert table.loc["mt"].tolist() == [3, 0]


def test_nobody_of_the_targets_takes_part_in_training_for_any_target(example):
    pool, sources, references = datasets.any_target_parts(example)
    assert "london" not in set(sources.manifest["set"]) and len(references)
    people = sources.manifest["person"].drop_duplicates()
    assert 0 < len(pool) == len(people) <= len(sources)
    assert torch.equal(pool.image, sources.batch(people.index).image)


def test_examples_are_spread_over_each_set(example):
    sets = datasets.examples(example, 2)
    assert sets == [["asset-0", "asset-2"], ["asset-4", "asset-5"], ["asset-6", "asset-7"], ["asset-9", "asset-10"]]


# --- the open photographs -----------------------------------------------------------------------------------------


@pytest.fixture
def part_of_mirror(mirror, tmp_path, monkeypatch):
    """A mirror with every fifth of the photos."""
    folder = tmp_path / "part"
    for photo in [asset for group in (*datasets.SETS, "mt_masks") for asset in assets.available(group)][::5]:
        place = folder / photo.relative
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(mirror.resolve() / photo.relative)
    monkeypatch.setenv("AMTGAN_ASSET_MIRROR", str(folder))
    monkeypatch.setattr("amtgan_lib.paths.CACHE", tmp_path / "cache")
    return folder


@pytest.mark.mirror
def test_the_manifest_of_the_mirror(mirror):
    table = datasets.available_manifest()
    photos = {name: len(assets.available(name)) for name in datasets.SETS}
    counts = table.groupby("set").size()
    print(counts.to_dict())
    assert counts.get("celeba_hq", 0) == photos["celeba_hq"]
    assert counts.get("celeba_hq_target", 0) == photos["paper_targets"]
    assert counts.get("london", 0) == sum(one.path.endswith(".jpg") for one in assets.available("london"))
    names = {one.path.rsplit("/", 1)[1] for group in ("mt_makeup", "mt_no_makeup") for one in assets.available(group)}
    assert counts.get("mt", 0) == len(names)
    assert not table.duplicated("asset").any() and not table.duplicated(["person", "part"]).any()
    both = table[table["set"].isin(["celeba_hq", "celeba_hq_target"])].groupby("person").size()
    assert both.between(1, 2).all()


@pytest.mark.mirror
def test_another_part_of_the_mirror_gives_the_same_answers(mirror, request):
    whole = datasets.available_manifest().set_index(["person", "part"])
    request.getfixturevalue("part_of_mirror")
    part = datasets.available_manifest().set_index(["person", "part"])
    assert 0 < len(part) < len(whole) / 2
    shared = whole.loc[part.index]
    assert (part["split"] == shared["split"]).all() and (part["set"] == shared["set"]).all()
    unique = part["set"] != "mt"  # of an MT photo another copy may be at hand
    assert (part["asset"] == shared["asset"])[unique].all()


@pytest.mark.mirror
def test_parse_maps_agree_with_the_mesh(mirror):
    """The orders of the classes, checked on pictures: lips of the parse map and lips of the mesh are one place."""
    pytest.importorskip("mediapipe")
    table = datasets.available_manifest()
    rows = [rows.iloc[i] for order, rows in table.groupby("parse_order") if order for i in (0, len(rows) - 1)]
    if not rows:
        pytest.skip("the mirror has no parse maps")
    for row in rows:
        parsed = datasets.file_crop(table, row["asset"]).masks
        drawn = faces.detect_one(datasets.file_of(row["asset"])).masks
        for region, least in ((0, 0.6), (1, 0.5), (2, 0.6)):
            both, either = (parsed[region] * drawn[region]).sum(), (parsed[region] + drawn[region]).clamp(max=1).sum()
            assert both / either > least, (row["person"], row["parse_order"], region)


@pytest.mark.mirror
def test_a_small_set_from_end_to_end(mirror, tmp_path):
    pytest.importorskip("mediapipe")
    table = datasets.limited(datasets.available_manifest(), 1)
    made = prepare(table, tmp_path / "small.npz", 64)
    assert len(made) == len(table) and made.size == 64
    assert pd.read_csv(tmp_path / "small.problems.csv").empty
    again = load(tmp_path / "small.npz")
    pd.testing.assert_frame_equal(again.manifest, made.manifest)
    row = again.manifest.iloc[0]
    photo = Image.open(datasets.file_of(row["asset"]))
    torch.testing.assert_close(again.batch([0]).image[0], faces.detect_one(photo, 64).image)
    assert isinstance(FaceBatch.of([faces.detect_one(photo, 64)]), FaceBatch)


def test_a_face_error_is_a_photo_error():
    assert issubclass(FaceError, PhotoError)


def test_who_is_in_the_test_has_not_changed(monkeypatch):
    """The manifest of all pinned photos: stored numbers are of these people."""
    monkeypatch.setenv("AMTGAN_ASSET_MIRROR", "")
    photos = [asset for group in datasets.SETS for asset in assets.find(group=group)]
    table = datasets.open_manifest(photos, assets.find(group="mt_masks"))
    people = table.groupby(["set", "split"])["person"].nunique().to_dict()
    assert people[("celeba_hq", "train")] == 205 and people[("celeba_hq", "test")] == 95
    rows = "\n".join(",".join(row) for row in table.itertuples(index=False))
    assert hashlib.sha256(rows.encode()).hexdigest()[:16] == "26cda0b20f6080cc"


def test_with_nothing_at_hand_the_photos_are_fetched(monkeypatch):
    asked = []
    monkeypatch.setattr(assets, "available", lambda group: [])
    monkeypatch.setattr(assets, "fetch_many", lambda wanted: asked.extend(wanted))
    datasets.available_manifest()
    assert {asset.group for asset in asked} == {*datasets.SETS, "mt_masks"}
