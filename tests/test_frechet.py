"""Table 2's other columns: Fréchet distances under their own names, a perceptual distance, the min-max stretch."""

import hashlib
import sys
from dataclasses import replace
from types import SimpleNamespace

import fakes
import numpy as np
import pandas as pd
import pytest
import torch
from fakes import tiny_recognizers
from PIL import Image

from amtgan_lib import evaluation, faces, losses
from amtgan_lib.evaluation import frechet as module
from amtgan_lib.images import open_photo, to_uint8

FACTS = {"experiment": "e", "preset": "p", "dataset": "d", "target": "t", "seed": 0}
(JUDGE,) = tiny_recognizers("tiny_judge")


def whole(file: str, size: int) -> faces.FaceCrop:
    """A file's face, which fills it; none in a black one."""
    photo = open_photo(file)
    if not photo.rgb.any():
        raise faces.FaceError(f"{file}: no face was found")
    return replace(fakes.photo_crop(photo, size=photo.size[0]), photo_size=photo.size)


@pytest.fixture
def report(tmp_path) -> pd.DataFrame:
    """Six photos, their protected files a little darker, one without a file."""
    pixels = to_uint8(fakes.smooth(6, 48, seed=3))
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"clean{number}.png")
        Image.fromarray((picture * 0.8).astype(np.uint8)).save(tmp_path / f"protected{number}.png")
    columns = {side: [str(tmp_path / f"{side}{number}.png") for number in range(6)] for side in ("clean", "protected")}
    columns["protected"][5] = ""
    return pd.DataFrame(columns)


# --- the distance --------------------------------------------------------------------------------------------------


def test_the_distance_of_lines_is_that_of_their_normal_distributions():
    rng = np.random.default_rng(0)
    first, second = rng.normal(1.0, 2.0, (50, 1)), rng.normal(-2.0, 0.5, (70, 1))
    expected = (first.mean() - second.mean()) ** 2 + (first.std(ddof=1) - second.std(ddof=1)) ** 2
    assert evaluation.frechet_distance(first, second) == pytest.approx(expected)


def test_it_is_the_formula_with_the_root_of_the_product():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    first = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    second = rng.normal(size=(30, 5)) @ rng.normal(size=(5, 5)) + 0.5
    one, other = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    moved = np.sum((first.mean(0) - second.mean(0)) ** 2)
    expected = moved + np.trace(one + other - 2 * sqrtm(one @ other).real)
    assert evaluation.frechet_distance(first, second) == pytest.approx(expected)
    assert evaluation.frechet_distance(second, first) == pytest.approx(expected)


@pytest.mark.parametrize("count", [3, 40])  # fewer vectors than they have numbers, and more
def test_equal_sets_have_none_and_a_shift_has_its_square(count):
    vectors = np.random.default_rng(2).normal(size=(count, 6))
    assert evaluation.frechet_distance(vectors, vectors[::-1]) == pytest.approx(0, abs=1e-6)
    assert evaluation.frechet_distance(vectors, vectors + 0.5) == pytest.approx(6 * 0.25)


@pytest.mark.parametrize("second", [np.ones((1, 3)), np.ones((4, 2))])
def test_sets_that_cannot_be_compared_are_refused(second):
    with pytest.raises(ValueError, match="at least two vectors"):
        evaluation.frechet_distance(np.ones((4, 3)), second)


# --- its table -----------------------------------------------------------------------------------------------------


def test_without_an_inception_file_it_is_the_recognisers_and_says_so(report):
    kind = evaluation.features(JUDGE)
    table = evaluation.frechet_table(
        {"darker": report, "nothing": report.assign(protected=report.clean)}, kind, whole, **FACTS
    )
    assert set(table["metric"]) == {"frechet tiny_judge"} and "fid" not in set(table["metric"])
    darker, nothing = table.itertuples()
    assert (darker.method, darker.n, nothing.method, nothing.n) == ("darker", 5, "nothing", 6)
    assert darker.value > 1e-4 and nothing.value == pytest.approx(0, abs=1e-6)
    assert pd.isna(darker.ci_low)


def test_a_photo_without_a_face_is_left_out_and_one_alone_is_no_set(report):
    Image.new("RGB", (48, 48)).save(report.clean[0])
    kind = evaluation.features(JUDGE)
    (row,) = evaluation.frechet_table({"some": report, "one": report[1:2]}, kind, whole, **FACTS).itertuples()
    assert (row.method, row.n) == ("some", 4)


def test_the_features_are_means_of_a_middle_stage():
    images = fakes.smooth(3, 48, seed=1)
    expected = JUDGE.features(images)[module.STAGE].mean((2, 3))
    torch.testing.assert_close(evaluation.features(JUDGE).of(images), expected)


def test_inception_is_read_from_its_own_file_only(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.pth"):
        evaluation.features(JUDGE, tmp_path / "none.pth")
    file = tmp_path / "weights.pth"
    file.write_bytes(b"weights")
    with pytest.raises(ValueError, match="not FID's Inception"):
        evaluation.features(JUDGE, file)
    monkeypatch.setattr(module, "INCEPTION_SHA256_PREFIX", hashlib.sha256(b"weights").hexdigest()[:8])
    asked = []

    class Extractor:
        """In place of torch-fidelity's network, which nobody may pass on: channel means of the levels."""

        def __init__(self, name, features, feature_extractor_weights_path):
            asked.append((features, feature_extractor_weights_path))

        def __call__(self, images):
            assert images.dtype == torch.uint8 and images.shape[1] == 3
            return (images.double().mean((2, 3)),)

    monkeypatch.setitem(sys.modules, "torch_fidelity", SimpleNamespace())
    name = "torch_fidelity.feature_extractor_inceptionv3"
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(FeatureExtractorInceptionV3=Extractor))
    kind = evaluation.features(JUDGE, file)
    assert kind.name == "fid" and asked == [(["2048"], str(file))]
    torch.testing.assert_close(kind.of(torch.ones(2, 3, 8, 8)), torch.full((2, 3), 255.0))


# --- perceptual distance and stretch -------------------------------------------------------------------------------


def test_the_perceptual_distance_stands_under_its_own_name(report):
    perceptual = losses.FeatureDistance(JUDGE.features, "feature distance (tiny_judge)")
    reports = {"darker": report, "nothing": report.assign(protected=report.clean)}
    table = evaluation.quality_table(reports, whole, perceptual, **FACTS)
    rows = table[table["metric"] == perceptual.name].set_index("method")
    assert rows["value"]["darker"] > 1e-4 and rows["value"]["nothing"] == pytest.approx(0, abs=1e-6)
    assert rows["n"].tolist() == [5, 6]
    assert perceptual.name not in set(evaluation.quality_table(reports, whole, **FACTS)["metric"])


def test_a_stretched_picture_has_its_own_extremes_and_the_report_names_it(report, tmp_path):
    again = evaluation.stretched(report, tmp_path / "stretched")
    assert again["clean"].equals(report["clean"]) and again["protected"][5] == ""
    before, after = (open_photo(each["protected"][0]).rgb.astype(float) for each in (report, again))
    assert (after.min(), after.max()) == (0, 255) and before.max() < 210
    expected = (before - before.min()) / (before.max() - before.min()) * 255
    np.testing.assert_allclose(after, expected, atol=1)
    assert [path.name for path in sorted((tmp_path / "stretched").iterdir())] == [f"protected{n}.png" for n in range(5)]
