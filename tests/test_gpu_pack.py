"""The pack for a machine with a GPU: what comes out there is what went in here."""

import numpy as np
import pytest

from amtgan_lib import assets, datasets, paths, recognizers
from benchmarks import gpu_pack


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A prepared set of six drawn people, and a place to pack it."""
    monkeypatch.setattr(paths, "PREPARED", tmp_path / "prepared")
    monkeypatch.setattr(gpu_pack, "PACK", tmp_path / "pack")
    people = datasets.drawn.manifest().head(6)
    datasets.prepare(people, tmp_path / "prepared" / "drawn.npz", 48)
    return tmp_path


def test_a_set_comes_back(folders):
    prepared, packed, again = (folders / name for name in ("prepared/drawn.npz", "small.npz", "new/drawn.npz"))
    gpu_pack.pack_faces(prepared, packed)
    assert packed.stat().st_size < 0.3 * prepared.stat().st_size
    gpu_pack.unpack_faces(packed, again)
    before, after = datasets.load(prepared), datasets.load(again)
    assert before.manifest.equals(after.manifest)
    for name in ("masks", "landmarks", "points"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name
    difference = np.abs(before.images.astype(int) - after.images)
    assert before.images.shape == after.images.shape and difference.mean() < 3
    assert [path.name for path in again.parent.iterdir()] == ["drawn.npz"]


def test_weights_of_the_open_recognisers_travel_as_a_mirror(folders, mirror, monkeypatch):
    gpu_pack.pack(folders / "prepared" / "drawn.npz", folders / "pack", wheels=())
    monkeypatch.setenv("AMTGAN_ASSET_MIRROR", str(folders / "pack" / "assets"))
    for name in recognizers.OPEN:
        asset = assets.get(recognizers.spec(name).weights)
        assert (folders / "pack" / "assets" / asset.relative).stat().st_size == asset.bytes


def test_unpacking_keeps_what_is_there(folders, capsys):
    prepared, packed = folders / "prepared" / "drawn.npz", folders / "pack" / "drawn.npz"
    packed.parent.mkdir()
    gpu_pack.pack_faces(prepared, packed)
    assert gpu_pack.main(["unpack", "--set", "drawn"]) == 0
    assert "stays as it is" in capsys.readouterr().out
    prepared.unlink()
    assert gpu_pack.main(["unpack", "--set", "drawn"]) == 0
    assert len(datasets.load(prepared)) == 6


def test_what_is_missing_or_too_large_is_one_sentence(folders, mirror, monkeypatch, capsys):
    assert gpu_pack.main(["pack", "--set", "other"]) == 1
    assert "run notebook 01_prepare_data of the preset open first" in capsys.readouterr().err
    assert gpu_pack.main(["unpack", "--set", "other"]) == 1
    assert "run make gpu-pack first" in capsys.readouterr().err
    monkeypatch.setattr(gpu_pack, "LARGEST", 2**20)
    with pytest.raises(gpu_pack.PackError, match="MiB, which is more than 1"):
        gpu_pack.pack(folders / "prepared" / "drawn.npz", folders / "pack", wheels=())
