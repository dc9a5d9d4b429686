"""Broken and hostile files: each reader gives a result or its documented error, and writes nothing elsewhere.

`python -m benchmarks.fuzz --count 100000` reads more of them, each kind in a process with a limit of memory and time.
"""

import random
import re

import pytest

from amtgan_lib import paths
from amtgan_lib.images import PhotoError, open_photo
from benchmarks import fuzz

QUICK = 10  # inputs a kind


@pytest.fixture
def place(tmp_path, monkeypatch):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.setattr(paths, "CACHE", inner / "cache")
    return inner


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [kind for kind in fuzz.READERS if kind != "faces"])
def test_a_broken_file_is_read_or_refused_by_name(kind, place):
    reader = fuzz.READERS[kind]
    seeds, file = reader.seeds(), place / f"input{reader.suffix}"
    inputs = [*seeds, *(fuzz.mutated(seeds, random.Random(number)) for number in range(QUICK))]
    for number, content in enumerate(inputs):
        file.write_bytes(content)
        assert not fuzz.finding(reader, file), number
    outside = [path for path in place.parents[1].rglob("*") if path.is_file() and place not in path.parents]
    assert not outside and not (place / "fuzzed").exists()


def test_the_fuzzer_notices_an_error_that_is_not_documented(place):
    broken = fuzz.Reader(".png", fuzz.pictures, lambda path: 1 / 0, (PhotoError,))
    assert fuzz.finding(broken, place / "x").startswith("ZeroDivisionError in test_hostile.py")


@pytest.mark.slow
@pytest.mark.parametrize("kind", fuzz.READERS)
def test_thousands_of_them_in_bounded_memory_and_time(kind):
    assert fuzz.fuzz(kind, 1000 // fuzz.SLOW.get(kind, 1), seed=1) == []


def test_a_picture_that_claims_900_million_pixels_is_refused_at_once(place):
    (place / "bomb.png").write_bytes(fuzz.png(30_000, 30_000))
    with pytest.raises(PhotoError, match=r"bomb\.png"):
        open_photo(place / "bomb.png")


def test_weights_are_read_as_data_alone():
    """Pickled code would run where a file is opened without it."""
    for path in (paths.ROOT / "amtgan_lib").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert all("weights_only=True" in call for call in re.findall(r"torch\.load\([^\n]*", text)), path
        assert not re.search(r"pickle\.loads?\(|yaml\.load\(|allow_pickle=True", text), path
