"""Evaluation: thresholds and rates at their limits, faces from files, and rows that never favour the method."""

import math
from dataclasses import replace
from types import SimpleNamespace

import fakes
import numpy as np
import pandas as pd
import pytest
import torch
from fakes import NoseRecognizer, plain, plain_set
from PIL import Image

from amtgan_lib import datasets, evaluation, faces, losses, recognizers
from amtgan_lib.evaluation import NOT_PROTECTED, Gallery, Judgement, Probes, recognition, tables, verdicts
from amtgan_lib.images import open_photo, to_tensor
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import Row

FACTS = {"experiment": "e", "preset": "open-small", "dataset": "celeba_hq test", "target": "london/001", "seed": 0}
ABOUT = {**FACTS, "method": "m", "recogniser": "r"}


# ---------------------------------------------------------------- scores


def units(*angles):
    """Unit vectors (N, 2) at angles in degrees: their cosines are the cosines of differences."""
    angles = np.radians(angles)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_verification_scores_are_cosines_of_every_pair():
    scores = evaluation.verification_scores(units(0, 90, 180), units(0, 60))
    np.testing.assert_allclose(scores, [[1, 0.5], [0, math.sqrt(0.75)], [-1, -0.5]], atol=1e-12)


@pytest.mark.parametrize(("probes", "gallery"), [((3, 2), (3, 4)), ((2,), (3, 2)), ((3, 2), (1, 3, 2))])
def test_verification_scores_refuse_other_shapes(probes, gallery):
    with pytest.raises(ValueError, match=r"expected \(P, D\) and \(G, D\), got"):
        evaluation.verification_scores(np.ones(probes), np.ones(gallery))


def test_impostor_scores_compare_different_people_only():
    scores = np.array([[1.0, 0.2, 0.3], [0.4, 1.0, np.nan]])
    kept = evaluation.impostor_scores(scores, ["a", "b"], ["a", "b", "c"])
    assert kept.tolist() == [0.2, 0.3, 0.4]
    assert evaluation.impostor_scores(scores, ["a", "a"], ["a", "a", "a"]).size == 0


@pytest.mark.parametrize("count", [1000, 1234, 5003])
@pytest.mark.parametrize("levels", [0, 50], ids=["all different", "with ties"])
def test_thresholds_keep_the_false_accept_rate_and_are_the_smallest_that_do(count, levels):
    impostors = np.random.default_rng(count).normal(0, 0.15, count)
    impostors = np.round(impostors * levels) / levels if levels else impostors
    thresholds = evaluation.calibrate(impostors)
    assert list(thresholds) == [0.1, 0.01, 0.001]
    for far, threshold in thresholds.items():
        assert (impostors > threshold).mean() <= far
        below = impostors[impostors < threshold].max()
        assert (impostors > below).mean() > far


def test_stricter_rates_have_higher_thresholds():
    thresholds = list(evaluation.calibrate(np.random.default_rng(0).normal(size=4000)).values())
    assert thresholds == sorted(thresholds) and len(set(thresholds)) == 3


def test_too_few_impostors_cannot_resolve_a_rate():
    scores = np.linspace(-1, 1, 999)
    with pytest.raises(ValueError, match=r"999 impostor pairs cannot resolve a false accept rate of 0\.001"):
        evaluation.calibrate(scores)
    assert set(evaluation.calibrate(scores, (0.1, 0.01))) == {0.1, 0.01}


def test_nan_impostors_are_refused():
    with pytest.raises(ValueError, match="hold NaN"):
        evaluation.calibrate(np.append(np.linspace(0, 1, 2000), np.nan))


@pytest.fixture(scope="module")
def population():
    """Cosines (60, 60) of 60 people's two photos: own photos alike, others not."""
    draw = np.random.default_rng(1)
    first = draw.normal(size=(60, 16))
    second = first + 0.5 * draw.normal(size=(60, 16))
    return evaluation.verification_scores(*(side / np.linalg.norm(side, axis=1)[:, None] for side in (first, second)))


@pytest.mark.parametrize("far", [0.1, 0.01])
def test_the_interval_of_a_threshold_contains_it_and_is_the_same_each_time(population, far):
    people = list(map(str, range(60)))
    threshold = evaluation.calibrate(evaluation.impostor_scores(population, people, people))[far]
    low, high = evaluation.calibration_interval(population, far, repeats=100)
    assert low < threshold < high and high - low < 0.25
    assert evaluation.calibration_interval(population, far, repeats=100) == (low, high)


def test_a_person_drawn_twice_is_no_impostor_of_himself(population):
    """With genuine cosines of 1 and all others 0, any genuine pair among the impostors would lift the threshold."""
    assert evaluation.calibration_interval(np.eye(20), 0.01, repeats=50) == (0.0, 0.0)


def test_equal_error_rate_at_its_limits():
    low, high = np.linspace(0, 0.4, 50), np.linspace(0.5, 1, 30)
    assert evaluation.equal_error_rate(high, low) == 0
    assert evaluation.equal_error_rate(low, low) == pytest.approx(0.5, abs=0.01)
    assert evaluation.equal_error_rate(np.full(5, 0.3), np.full(9, 0.3)) == 0.5
    assert evaluation.equal_error_rate(low, high) == pytest.approx(1, abs=0.05)


def test_equal_error_rate_of_a_known_overlap():
    """One genuine pair in ten below, one impostor in ten above, whatever the numbers of pairs."""
    genuine, impostors = np.array([0.1] + [0.9] * 9), np.array([0.8] * 20 + [0.0] * 180)
    assert evaluation.equal_error_rate(genuine, impostors) == pytest.approx(0.1)


def test_success_and_hiding_are_strict_on_either_side_of_the_threshold():
    scores = np.array([0.2, 0.3, 0.31, -1.0, 1.0])
    assert evaluation.attack_success(scores, 0.3).tolist() == [False, False, True, False, True]
    assert evaluation.hidden(scores, 0.3).tolist() == [True, True, False, True, False]


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 1.0])
def test_a_file_without_a_face_counts_for_nothing(threshold):
    nothing = np.full(3, np.nan)
    assert not evaluation.attack_success(nothing, threshold).any()
    assert not evaluation.hidden(nothing, threshold).any()


@pytest.mark.parametrize(
    ("successes", "n", "interval"),
    [(0, 10, (0, 0.2775)), (10, 10, (0.7225, 1)), (8, 10, (0.4902, 0.9433)), (1, 2, (0.0945, 0.9055))],
)
def test_wilson_intervals_of_known_shares(successes, n, interval):
    assert evaluation.wilson(successes, n) == pytest.approx(interval, abs=1e-4)


def test_wilson_limits():
    assert all(math.isnan(end) for end in evaluation.wilson(0, 0))
    for n in (1, 7, 1000):
        assert evaluation.wilson(0, n)[0] == pytest.approx(0, abs=1e-12)
        assert evaluation.wilson(n, n)[1] == pytest.approx(1)
        assert all(0 <= end <= 1 for successes in range(n + 1) for end in evaluation.wilson(successes, n))


def test_mean_interval_contains_the_mean_and_is_the_same_each_time():
    values = np.append(np.random.default_rng(0).normal(30, 2, 50), np.nan)
    low, high = evaluation.mean_interval(values)
    assert low < np.nanmean(values) < high and high - low < 2
    assert evaluation.mean_interval(values) == (low, high)
    assert evaluation.mean_interval(np.full(5, 7.0)) == (7.0, 7.0)
    assert all(math.isnan(end) for end in evaluation.mean_interval(np.array([np.nan])))


# ---------------------------------------------------------------- one method on one recogniser


@pytest.fixture
def gallery():
    """Four people at 0, 40, 80 and 120 degrees, the target at 200."""
    return Gallery(units(0, 40, 80, 120), np.array([0, 1, 2]), units(200)[0])


def test_raw_scores_are_to_the_target_and_the_owner(gallery):
    scores = evaluation.success_scores(units(0, 190, 110), gallery)
    np.testing.assert_allclose(scores["target"], np.cos(np.radians([200, 10, 90])), atol=1e-12)
    np.testing.assert_allclose(scores["owner"], np.cos(np.radians([0, 150, 30])), atol=1e-12)
    assert scores["owner_rank"].tolist() == [1, 3, 2]


def test_an_unchanged_photo_scores_exactly_as_the_clean_one(gallery):
    clean, threshold = units(3, 41, 99), 0.9
    rows = [
        evaluation.success_rows(evaluation.success_scores(p, gallery), threshold, 0.01, **ABOUT)
        for p in (clean, 1 * clean)
    ]
    assert rows[0] == rows[1]


def test_rates_are_counted_with_those_without_a_face(gallery):
    vectors = units(0, 199, 0)
    vectors[2] = np.nan
    rates = evaluation.success_rates(evaluation.success_scores(vectors, gallery), 0.9)
    assert {name: counted.tolist() for name, counted in rates.items()} == {
        "impersonation": [False, True, False],
        "dodging": [False, True, False],
        "rank-1": [True, False, True],
        "rank-5": [True, True, True],
    }


def test_only_who_is_strictly_nearer_takes_a_rank_from_the_owner():
    tie, behind = np.array([[0.5, 0.5, 0.4], [0.3, 0.2, 0.1]])
    for probe, owner, rank in ((tie, 1, 1), (tie, 2, 3), (behind, 0, 1), (behind, 2, 3)):
        gallery = Gallery(np.eye(3), np.array([owner]), np.zeros(3))
        assert evaluation.success_scores(probe[None], gallery)["owner_rank"].tolist() == [rank]


def test_ranks_are_counted_up_to_and_with_their_limit():
    scores = pd.DataFrame({"target": 0.0, "owner": 0.0, "owner_rank": [1.0, 2.0, 5.0, 6.0]})
    rates = evaluation.success_rates(scores, 0.5)
    assert rates["rank-1"].tolist() == [True, False, False, False]
    assert rates["rank-5"].tolist() == [True, True, True, False]


def test_losing_every_face_is_worth_nothing(gallery):
    scores = evaluation.success_scores(np.full((3, 2), np.nan), gallery)
    values = {row.metric: row.value for row in evaluation.success_rows(scores, -1.0, 0.01, **ABOUT)}
    assert values == {"impersonation": 0, "dodging": 0, "rank-1": 1, "rank-5": 1}


def test_rates_at_several_false_accept_rates_come_from_the_same_scores(gallery):
    """They say who judged and when; a judge is left out where it has no threshold."""
    scores = evaluation.success_scores(units(0, 199, 80), gallery).assign(method="m")
    scores = pd.concat([scores.assign(recogniser="r"), scores.assign(recogniser="other")])
    judges = [SimpleNamespace(name=name, weights_sha256=f"of {name}") for name in ("r", "other")]
    found = evaluation.rates_at(scores, judges, {0.1: {"r": -0.99}, 0.001: {"r": 0.9}}, **FACTS)
    assert set(found["recogniser"]) == {"r"} and set(found["far"]) == {0.1, 0.001}
    assert set(found["weights_sha256"]) == {"of r"} and set(found["note"]) == {"held out"}
    assert set(found["commit"]) == {results.commit()} and results.commit()
    for far, threshold in ((0.1, -0.99), (0.001, 0.9)):
        alone = evaluation.success_rows(scores[scores["recogniser"] == "r"], threshold, far, **ABOUT)
        assert found[found["far"] == far]["value"].tolist() == [row.value for row in alone]
    assert found.groupby("far")["value"].apply(tuple).nunique() == 2


def test_success_rows_carry_n_rate_and_intervals(gallery):
    rows = evaluation.success_rows(evaluation.success_scores(units(0, 199, 80), gallery), 0.9, 0.01, **ABOUT)
    assert [row.metric for row in rows] == ["impersonation", "dodging", "rank-1", "rank-5"]
    for row in rows:
        assert (row.n, row.far, row.method, row.recogniser) == (3, 0.01, "m", "r")
        assert (row.ci_low, row.ci_high) == evaluation.wilson(round(3 * row.value), 3)
    assert rows[0].value == pytest.approx(1 / 3) and rows[2].value == pytest.approx(2 / 3)


# ---------------------------------------------------------------- a small world of plain colours


COLOURS = {  # person: colour of the source photo
    "celeba_hq/a": (1, 0, 0),
    "celeba_hq/b": (0, 1, 0),
    "celeba_hq/c": (0, 0, 1),
    "london/001": (1, 1, 0),
    "london/002": (0, 1, 1),
}
SIDE = 24


def probes_of(colours, found=None):
    points = fakes.crop_points(SIDE)
    images = torch.stack([to_tensor(picture) for picture in plain(colours, SIDE)])
    found = np.ones(len(colours), bool) if found is None else np.array(found)
    # As read_probes leaves what it found no face in: black, without points.
    there = torch.from_numpy(found)[:, None, None]
    images = torch.where(there[..., None], images, torch.tensor(-1.0))
    return Probes(images, torch.where(there, points.repeat(len(colours), 1, 1), torch.zeros(())), found)


@pytest.fixture
def world():
    return plain_set(COLOURS, SIDE)


@pytest.fixture
def judgement(world):
    return Judgement(
        world, "london/001", ["celeba_hq/a", "celeba_hq/b"], {"stand-in": 0.9, "other": 0.9}, 0.01, ["other"]
    )


def test_embedding_gives_unit_vectors_and_nan_where_no_face_was_found():
    probes = probes_of([(1, 0, 0), (0, 1, 0), (0, 0, 1)], found=[True, False, True])
    assert len(probes) == 3
    for aligned in (True, False):
        vectors = evaluation.embed(probes, NoseRecognizer(), aligned)
        np.testing.assert_allclose(vectors[[0, 2]], [[1, 0, 0], [0, 0, 1]], atol=0.01)
        assert np.isnan(vectors[1]).all()


def test_a_row_without_a_face_has_no_embedding():
    probes = probes_of(np.random.default_rng(0).random((5, 3)), found=[True, True, False, True, True])
    whole = evaluation.embed(probes, NoseRecognizer())
    np.testing.assert_array_equal(np.isnan(whole[:, 0]), ~probes.found)


def test_unaligned_embedding_shows_the_whole_crop():
    seen = []

    class Recorder(NoseRecognizer):
        def embed(self, images, points=None):
            seen.append(points)
            return super().embed(images, points)

    evaluation.embed(probes_of([(1, 0, 0)]), Recorder(), aligned=False)
    evaluation.embed(probes_of([(1, 0, 0)]), Recorder())
    assert seen[0] is None and seen[1].shape == (1, 5, 2)


def test_the_gallery_knows_the_other_photo_of_everybody(judgement, world):
    white = world.images.copy()
    white[(world.manifest["part"] == "source").to_numpy()] = 255  # what was protected is in no gallery
    gallery = replace(judgement, face_set=replace(world, images=white)).gallery(NoseRecognizer())
    np.testing.assert_allclose(gallery.vectors, np.eye(3), atol=0.02)  # a, b, c, not the target
    assert gallery.owner.tolist() == [0, 1]
    np.testing.assert_allclose(gallery.target, np.array([1, 1, 0]) / math.sqrt(2), atol=0.02)


def judged(judgement, **methods):
    stand_ins = [NoseRecognizer(), NoseRecognizer("other", "beef")]
    return judgement.table(methods, stand_ins, **FACTS)


def values(table, method, recogniser="stand-in"):
    chosen = table[(table["method"] == method) & (table["recogniser"] == recogniser)]
    return chosen.set_index("metric")["value"].to_dict()


def test_a_method_is_judged_beside_the_clean_photos(judgement):
    clean = probes_of([(1, 0, 0), (0, 1, 0)])
    # a is made green-yellow: near the target, nearer to b than to a; b is lost.
    dressed = probes_of([(0.6, 1, 0), (0, 1, 0)], found=[True, False])
    table, raw = judged(judgement, clean=clean, dressed=dressed)
    assert values(table, "clean") == {"impersonation": 0, "dodging": 0, "rank-1": 1, "rank-5": 1}
    assert values(table, "dressed") == {"impersonation": 0.5, "dodging": 0.5, "rank-1": 0.5, "rank-5": 1}
    assert list(table.columns) == results.COLUMNS and len(table) == 2 * 2 * 4
    assert set(table["n"]) == {2} and set(table["far"]) == {0.01} and set(table["source"]) == {"measured"}
    assert not table[["ci_low", "ci_high"]].isna().any(axis=None)
    assert (table["commit"] != "").all() and table["device"].str.startswith("CPU").all()
    assert len(raw) == 2 * 2 * 2
    own = raw[(raw["method"] == "dressed") & (raw["recogniser"] == "stand-in")]
    assert own["person"].tolist() == ["celeba_hq/a", "celeba_hq/b"]
    assert own["target"].tolist() == pytest.approx([1.6 / math.sqrt(2 * 1.36), math.nan], abs=0.02, nan_ok=True)


def test_rows_say_who_was_held_out_and_with_which_weights(judgement):
    table, _ = judged(judgement, clean=probes_of([(1, 0, 0), (0, 1, 0)]))
    facts = table.groupby("recogniser")[["note", "weights_sha256"]].agg(lambda cells: "/".join(set(cells)))
    assert facts.loc["stand-in"].tolist() == ["trained against", "f00d"]
    assert facts.loc["other"].tolist() == ["held out", "beef"]


def test_doing_nothing_gives_exactly_the_clean_rows(judgement):
    same = [(1, 0, 0), (0, 1, 0)]
    table, _ = judged(judgement, clean=probes_of(same), idle=probes_of(same))
    clean, idle = (
        table[table["method"] == name].drop(columns="method").reset_index(drop=True) for name in ("clean", "idle")
    )
    pd.testing.assert_frame_equal(clean, idle, check_exact=True)


def test_probes_of_other_people_than_those_judged_are_refused(judgement):
    with pytest.raises(ValueError):
        judged(judgement, clean=probes_of([(1, 0, 0)]))


# ---------------------------------------------------------------- tables of recognisers


def test_people_with_one_photo_are_left_out_of_the_pairs(world):
    lonely = world.rows(np.array([5, 1, 4, 0, 3]))  # c, a and c, a, then b's other photo alone
    first, second = evaluation.two_photos(lonely)
    assert first.manifest["person"].tolist() == second.manifest["person"].tolist() == ["celeba_hq/a", "celeba_hq/c"]
    assert set(first.manifest["part"]) == {"source"} and set(second.manifest["part"]) == {"other"}
    assert (first.images[:, 0, 0] > second.images[:, 0, 0]).any(axis=1).all()
    assert len(evaluation.two_photos(world.rows(np.array([0])))[0]) == 0


def crowd(people=36):
    draw = np.random.default_rng(2)
    return plain_set({f"celeba_hq/{number:02}": colour for number, colour in enumerate(draw.random((people, 3)))})


def test_recognition_rows_of_a_perfect_and_of_a_blind_recogniser():
    perfect = {row.metric: row for row in recognition.recognition_rows(np.eye(10), **ABOUT)}
    assert {name: row.value for name, row in perfect.items()} == {
        "eer": 0,
        "rank-1": 1,
        "same person": 1,
        "different people": 0,
    }
    assert (perfect["rank-1"].ci_low, perfect["rank-1"].ci_high) == evaluation.wilson(10, 10)
    assert perfect["eer"].n == 10 and perfect["different people"].n == 90 and perfect["eer"].far is None
    blind = {row.metric: row.value for row in recognition.recognition_rows(np.ones((10, 10)), **ABOUT)}
    assert blind["eer"] == 0.5


def test_calibration_table_keeps_its_rates_on_the_people_it_saw():
    world = crowd()
    table = evaluation.calibration_table(world, [NoseRecognizer()], repeats=20)
    assert table["far"].tolist() == [0.1, 0.01, 0.001]
    assert set(table["people"]) == {36} and set(table["impostor_pairs"]) == {36 * 35}
    assert ((table["ci_low"] <= table["threshold"] + 0.02) & (table["threshold"] <= table["ci_high"] + 0.02)).all()
    pairs = evaluation.pair_scores(world, [NoseRecognizer()])
    impostors = pairs[pairs["kind"] == "impostor"]["cosine"]
    assert pairs["kind"].value_counts().to_dict() == {"impostor": 36 * 35, "genuine": 36}
    for row in table.itertuples():
        assert (impostors > row.threshold).mean() <= row.far
    assert pairs[pairs["kind"] == "genuine"]["cosine"].min() > 0.99


def test_the_false_accept_rate_is_the_share_of_impostors_above_a_threshold():
    impostors = np.array([0.1, 0.2, 0.2, 0.9])
    shares = evaluation.false_accepts(impostors, np.array([-1, 0.1, 0.15, 0.2, 0.5, 0.9, 1]))
    assert shares.tolist() == [1, 0.75, 0.75, 0.25, 0.25, 0, 0]  # a cosine at the threshold is not accepted
    with pytest.raises(ValueError, match="leave pairs without a face out"):
        evaluation.false_accepts(np.array([0.1, np.nan]), np.array([0.0]))


def test_the_false_accept_table_agrees_with_the_calibration():
    world = crowd()
    pairs = evaluation.pair_scores(world, [NoseRecognizer()])
    table = evaluation.false_accept_table(pairs)
    assert list(table.columns) == ["recogniser", "threshold", "far", "impostor_pairs"]
    assert (table["threshold"].iloc[0], table["threshold"].iloc[-1], len(table)) == (-1, 1, 401)
    assert (table["far"].iloc[0], table["far"].iloc[-1]) == (1, 0) and (table["far"].diff().dropna() <= 0).all()
    assert set(table["impostor_pairs"]) == {36 * 35}
    for row in evaluation.calibration_table(world, [NoseRecognizer()], repeats=5).itertuples():
        strict, lax = (table[side(table["threshold"], row.threshold)]["far"] for side in (np.greater_equal, np.less))
        assert strict.max() <= row.far <= lax.min()


def test_recognition_table_judges_files_unaligned(world, tmp_path, monkeypatch):
    for asset, picture in zip(world.manifest["asset"], world.images):
        Image.fromarray(255 - picture).save(tmp_path / asset)  # other colours than the prepared crops
    monkeypatch.setattr(datasets, "file_of", lambda asset: tmp_path / asset)
    facts = {key: FACTS[key] for key in ("experiment", "preset", "target", "seed")}
    table = evaluation.recognition_table(world, [NoseRecognizer()], method="clean", **facts)
    assert list(dict.fromkeys(table["dataset"])) == ["london", "celeba_hq", "celeba_hq unaligned"]
    assert table["n"][table["metric"] == "eer"].tolist() == [2, 3, 3]
    different = table[table["metric"] == "different people"].set_index("dataset")["value"]
    assert different["celeba_hq"] == pytest.approx(0, abs=0.02)
    assert different["celeba_hq unaligned"] == pytest.approx(1 / math.sqrt(2), abs=0.01)  # cyan and pale pink


def test_thresholds_are_read_at_their_rate(tmp_path):
    path = tmp_path / "thresholds.csv"
    pd.DataFrame(
        {"recogniser": ["a", "b"] * 2, "far": [0.1, 0.1, 0.01, 0.01], "threshold": [0.1, 0.2, 0.3, 0.4]}
    ).to_csv(path)
    assert evaluation.read_thresholds(path, 0.01) == {"a": 0.3, "b": 0.4}
    with pytest.raises(ValueError, match=r"no threshold at FAR 0.001 in thresholds.csv; there are \[0.01, 0.1\]"):
        evaluation.read_thresholds(path, 0.001)
    with pytest.raises(ValueError, match="run notebook 02_recognizers"):
        evaluation.read_thresholds(tmp_path / "none.csv", 0.01)
    by_rate = evaluation.thresholds_by_rate([recognizers.load("drawn_ir")], path)
    assert list(by_rate) == [0.1, 0.01] and by_rate[0.01] == {"a": 0.3, "b": 0.4}


# ---------------------------------------------------------------- pictures


def photo_of(pixels, path):
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(40, 200, (48, 48, 3), np.uint8)


def framed(photo):
    """A hand-made face that fills a square photo: lips above, skin in the middle, eyes below."""
    size = photo.size[1]
    masks = torch.zeros(3, size, size)
    for region in range(3):
        masks[region, region * size // 3 : (region + 1) * size // 3] = 1
    return replace(fakes.face_crop(to_tensor(photo.rgb[:, :size])), masks=masks)


def test_an_unchanged_picture_has_full_quality(noise, tmp_path):
    clean, same = photo_of(noise, tmp_path / "a.png"), photo_of(noise, tmp_path / "b.png")
    assert evaluation.quality(clean, same) == {"psnr": np.inf, "ssim": 1.0, "visible": 0.0}


def test_a_large_picture_is_as_visible_as_the_same_one_at_512_pixels(noise, tmp_path):
    sizes = {}
    for side in (512, 1024):
        large = np.kron(noise[:32, :32], np.ones((side // 32, side // 32, 1), np.uint8))
        changed = (large * 0.9).astype(np.uint8)
        pictures = photo_of(large, tmp_path / f"{side}.png"), photo_of(changed, tmp_path / f"{side} changed.png")
        sizes[side] = evaluation.quality(*pictures)["visible"]
    assert sizes[512] > 2 and sizes[1024] == pytest.approx(sizes[512], rel=0.01)


@pytest.mark.parametrize("levels", [1, 16])
def test_psnr_of_a_known_change(noise, tmp_path, levels):
    clean, changed = photo_of(noise, tmp_path / "a.png"), photo_of(noise + np.uint8(levels), tmp_path / "b.png")
    quality = evaluation.quality(clean, changed)
    assert quality["psnr"] == pytest.approx(20 * math.log10(255 / levels))
    assert 0.9 < quality["ssim"] < 1


def test_pictures_in_another_framing_are_not_compared(noise, tmp_path):
    clean, crop = photo_of(noise, tmp_path / "a.png"), photo_of(noise[:40], tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"\(48, 48\), .* \(40, 48\): not one framing"):
        evaluation.quality(clean, crop)


def test_flip_is_nothing_for_equal_pictures_and_grows_to_one_for_black_and_white():
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    values = [evaluation.flip(black, np.full_like(black, level)) for level in (0, 20, 80, 255)]
    assert values[0] == 0 and values == sorted(values) and values[1] > 0.02 and 0.9 < values[-1] <= 1
    assert evaluation.flip(white, black) == pytest.approx(values[-1], abs=0.01)


def test_flip_sees_patches_of_colour_better_than_grain_and_refuses_another_shape(noise):
    calm = np.full((96, 96, 3), 140, np.uint8)

    def chequered(cells):
        signs = np.where((np.indices((96, 96)) // cells).sum(0) % 2, 1, -1)
        return (calm + signs[..., None] * (14, -7, 0)).astype(np.uint8)

    assert evaluation.flip(calm, chequered(48)) > 4 * evaluation.flip(calm, chequered(1)) > 0
    with pytest.raises(ValueError, match=r"one shape expected, got \(96, 96, 3\) and \(48, 48, 3\)"):
        evaluation.flip(calm, noise)


def face_of(photo, size=256):
    """A hand-made face of 256 pixels at (20, 10) of a photo, whose crop has ``size`` pixels."""
    scale = 255 / (size - 1)
    part = Image.fromarray(photo.rgb[10:266, 20:276]).resize((size, size))
    crop = fakes.face_crop(to_tensor(part), np.array([[scale, 0, 20], [0, scale, 10.0]]))
    return replace(crop, photo_size=photo.size)


@pytest.fixture
def portrait():
    """A calm picture that is larger than its face."""
    return open_photo(np.full((300, 320, 3), (190, 150, 130), np.uint8))


def test_an_unchanged_face_differs_in_nothing(portrait):
    assert evaluation.skin_change(face_of(portrait), portrait.original) == pytest.approx(
        {"bare skin": 0, "bare skin chroma": 0}
    )
    assert evaluation.face_flip(face_of(portrait), portrait.original) == 0


def test_only_what_lies_in_the_frame_of_the_face_counts(portrait):
    beside, inside = portrait.rgb.copy(), portrait.rgb.copy()
    beside[:, :18] = beside[268:] = 0
    inside[100:200, 100:200] -= 40
    face = face_of(portrait)
    assert evaluation.face_flip(face, beside) == 0 and evaluation.skin_change(face, beside)["bare skin"] < 1e-5
    cut = [each[10:266, 20:276] for each in (portrait.rgb, inside)]
    assert evaluation.face_flip(face, inside) == evaluation.flip(*cut) > 0.01
    seen = losses.colour_difference(*(to_tensor(each[None]) for each in cut)).squeeze()
    skin = float(seen[face.masks[1] > 0.5].mean())
    assert evaluation.skin_change(face, inside)["bare skin"] == pytest.approx(skin, rel=1e-3)


@pytest.mark.parametrize("size", [256, 128])
def test_what_is_done_to_lips_hardly_counts_as_a_change_of_skin(portrait, size):
    rows, columns = slice(10 + 176, 10 + 208), slice(20 + 88, 20 + 168)  # of the lips in fakes.face_crop
    lipstick, powder = portrait.rgb.copy(), portrait.rgb.copy()
    lipstick[rows, columns] = 150, 30, 60
    powder[60:100, 80:220] = 170, 130, 160
    face = face_of(portrait, size)
    anywhere = [
        float(losses.colour_difference(face.image[None], face.resample(open_photo(made))[None]).mean())
        for made in (lipstick, powder)
    ]
    skin = [evaluation.skin_change(face, made)["bare skin"] for made in (lipstick, powder)]
    assert evaluation.face_flip(face, lipstick) > 0.02 and skin[0] < 0.3 * anywhere[0]
    assert skin[1] > anywhere[1] > 0.3  # the mask is a part of the crop


def test_chroma_is_the_strength_of_colour_not_its_brightness(portrait):
    grey = open_photo(np.full_like(portrait.rgb, 150))
    brighter, redder = grey.rgb + np.uint8(30), grey.rgb + np.array([40, 0, 0], np.uint8)
    light, red = (evaluation.skin_change(face_of(grey), made) for made in (brighter, redder))
    assert light["bare skin chroma"] < 0.1 < 5 < light["bare skin"]
    assert 5 < red["bare skin chroma"] < red["bare skin"]
    skinless = replace(face_of(grey), masks=torch.zeros(3, 256, 256))
    assert math.isnan(evaluation.skin_change(skinless, redder)["bare skin"])


def test_a_face_is_not_looked_for_in_a_picture_of_another_size(portrait, noise):
    with pytest.raises(ValueError, match="this face is from a photo of"):
        evaluation.skin_change(face_of(portrait), noise)


def test_the_colour_distance_to_itself_is_zero_and_to_a_shift_its_size(noise, tmp_path):
    face = framed(open_photo(noise))
    shifted = noise.copy()
    shifted[:16] += 10  # the lips' third
    shifted[32:] -= 7
    same = evaluation.makeup_distance(photo_of(noise, tmp_path / "a.png"), face, face)
    assert same == {"lip": 0, "skin": 0, "eyes": 0}
    changed = evaluation.makeup_distance(photo_of(shifted, tmp_path / "b.png"), face, face)
    assert changed == pytest.approx({"lip": 10, "skin": 0, "eyes": 7})


def test_a_region_that_is_not_there_has_no_colour_distance(noise, tmp_path):
    face = framed(open_photo(noise))
    bare = replace(face, masks=face.masks * torch.tensor([0.0, 1, 1])[:, None, None])
    distance = evaluation.makeup_distance(photo_of(noise, tmp_path / "a.png"), bare, face)
    assert math.isnan(distance["lip"]) and distance["skin"] == 0


def test_a_region_is_measured_where_the_clean_face_was(noise, tmp_path):
    """The frame is shifted by 8 pixels: what changes left of it is not seen."""
    photo = open_photo(np.pad(noise, ((0, 0), (8, 0), (0, 0))))
    face = replace(framed(open_photo(noise)), matrix=np.array([[1.0, 0, 8], [0, 1.0, 0]]))
    changed = photo.rgb.copy()
    changed[:, :7] = 255
    assert evaluation.makeup_distance(photo_of(changed, tmp_path / "a.png"), face, face)["skin"] == pytest.approx(0)


def test_whole_pictures_are_squeezed_not_cut(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 30:] = 255
    probes = evaluation.whole_pictures([photo_of(wide, tmp_path / "a.png"), photo_of(wide, tmp_path / "b.png")])
    assert probes.image.shape == (2, 3, 256, 256) and probes.found.all() and len(probes) == 2
    assert (probes.image[:, :, :, :110] == -1).all() and (probes.image[:, :, :, 146:] == 1).all()


def test_a_mean_row_has_n_and_an_interval():
    values_of = pd.DataFrame({"psnr": [30.0, 32.0, 34.0], "lip before": [5.0, np.nan, 7.0], "none": [np.nan] * 3})
    rows = {row.metric: row for row in evaluation.mean_rows(values_of, **ABOUT)}
    assert set(rows) == {"psnr", "lip before"}
    assert (rows["psnr"].value, rows["psnr"].n) == (32, 3) and (rows["lip before"].value, rows["lip before"].n) == (
        6,
        2,
    )
    assert rows["psnr"].ci_low < 32 < rows["psnr"].ci_high and isinstance(rows["psnr"], Row)


def test_an_unchanged_photo_does_not_make_the_mean_infinite():
    (row,) = evaluation.mean_rows(pd.DataFrame({"psnr": [30.0, np.inf, 34.0]}), **ABOUT)
    assert (row.value, row.n) == (32, 2) and math.isfinite(row.ci_high)


def test_when_every_photo_is_unchanged_the_mean_is_infinite():
    (row,) = evaluation.mean_rows(pd.DataFrame({"psnr": [np.inf, np.inf]}), **ABOUT)
    assert (row.value, row.n, row.ci_low, row.ci_high) == (np.inf, 2, None, None)


@pytest.fixture
def hand_made_detection(monkeypatch):
    """Every photo that is not black has one face, which fills it."""

    def detect(photo, size=256, every_way=True):
        photo = open_photo(photo)
        return [framed(photo)] if photo.rgb.any() else []

    monkeypatch.setattr(faces, "detect", detect)

    def detect_one(photo, size=256):
        if not (crops := detect(photo, size)):
            raise faces.FaceError(f"{photo}: no face was found")
        return crops[0]

    monkeypatch.setattr(faces, "detect_one", detect_one)


def test_pictures_are_measured_before_and_after(noise, tmp_path, hand_made_detection):
    reference = photo_of(noise + np.uint8(20), tmp_path / "reference.png")
    clean, protected = (
        photo_of(noise, tmp_path / "clean.png"),
        photo_of(noise + np.uint8(5), tmp_path / "protected.png"),
    )
    black = photo_of(0 * noise, tmp_path / "black.png")
    report = pd.DataFrame({"clean": [clean, black], "protected": [protected, black], "reference": str(reference)})
    table = evaluation.picture_table({"m": report[:1]}, **FACTS).set_index("metric")
    assert table["value"].to_dict() == pytest.approx(
        {
            "psnr": 20 * math.log10(255 / 5),
            "ssim": evaluation.quality(clean, protected)["ssim"],
            "visible": evaluation.quality(clean, protected)["visible"],
            "flip": evaluation.flip(noise, noise + np.uint8(5)),
            **evaluation.skin_change(faces.detect_one(clean), protected),
            **{f"{region} before": 20 for region in ("lip", "skin", "eyes")},
            **{f"{region} after": 15 for region in ("lip", "skin", "eyes")},
        }
    )
    # No face: no region, no skin and no flip, but a picture.
    table = evaluation.picture_table({"m": report[1:]}, **FACTS).set_index("metric")
    assert table.loc["ssim", "value"] == 1 and set(table.index) == {"psnr", "ssim", "visible"}


def test_picture_table_leaves_out_what_was_not_protected(noise, tmp_path, hand_made_detection):
    clean, protected = (
        photo_of(noise, tmp_path / "clean.png"),
        photo_of(noise + np.uint8(5), tmp_path / "protected.png"),
    )
    report = pd.DataFrame({"clean": str(clean), "protected": [str(protected), ""], "reference": str(clean)})
    table = evaluation.picture_table({"m": report, "failed": report[1:]}, **FACTS)
    assert set(table["method"]) == {"m"} and set(table["n"]) == {1} and (table["recogniser"] == "").all()
    assert list(table["metric"][:2]) == ["psnr", "ssim"] and table["far"].isna().all()


# ---------------------------------------------------------------- faces from files


def test_a_face_too_small_to_be_aligned_counts_as_none(noise, tmp_path, monkeypatch):
    def detect(file, size, every_way=True):
        raise faces.FaceError(f"{file}: the face is too small")

    monkeypatch.setattr(faces, "detect", detect)
    probes = evaluation.read_probes([photo_of(noise, tmp_path / "p.png")], 32)
    assert not probes.found.any() and (probes.image == -1).all()


LEFT, RIGHT = (0.0, 0.0, 20.0, 24.0), (28.0, 0.0, 48.0, 24.0)
NEXT_TO_LEFT = (12.0, 0.0, 34.0, 24.0)  # overlaps LEFT by less than a quarter


@pytest.fixture
def people_at(monkeypatch):
    """Set the faces of each picture by its name, the largest first: {"a.png": [(box, colour), ...]}."""
    pictures, sizes = {}, {}

    def detect(file, size=256, every_way=True):
        found = []
        for box, colour in pictures[str(file)]:
            (picture,) = plain([colour], SIDE)
            found.append(replace(framed(open_photo(picture)), box=box, photo_size=sizes.get(file, (48, 24))))
        return found

    monkeypatch.setattr(faces, "detect", detect)

    def put(faces_of, **size_of):
        pictures.update(faces_of)
        sizes.update({f"{name}.png": size for name, size in size_of.items()})

    return put


def colours_of(probes):
    return [image[:, 0, 0].gt(0).int().tolist() if there else None for image, there in zip(probes.image, probes.found)]


ME, YOU = [1, 0, 0], [0, 1, 0]


@pytest.mark.parametrize(
    ("afterwards", "seen"),
    [
        ([(RIGHT, YOU), (LEFT, ME)], ME),  # the other one is a little larger by now
        ([(LEFT, ME)], ME),
        ([((1.0, 2.0, 22.0, 26.0), ME)], ME),  # a pixel aside
        ([(RIGHT, YOU)], None),  # gone, and not to be taken for somebody else
        ([(NEXT_TO_LEFT, YOU)], None),
        ([(NEXT_TO_LEFT, YOU), (LEFT, ME)], ME),
        ([], None),
    ],
)
def test_the_face_of_the_clean_photo_is_looked_for_in_its_place(people_at, afterwards, seen):
    people_at({"clean.png": [(LEFT, ME), (RIGHT, YOU)], "after.png": afterwards})
    clean = evaluation.read_probes(["clean.png"], SIDE)
    assert colours_of(clean) == [ME]
    assert colours_of(evaluation.read_probes(["after.png"], SIDE, clean)) == [seen]


def test_in_a_picture_of_another_size_or_without_a_clean_face_the_largest_is_taken(people_at):
    after, half = [(RIGHT, YOU), (LEFT, ME)], [((14.0, 0.0, 24.0, 12.0), YOU), ((0.0, 0.0, 10.0, 12.0), ME)]
    people_at({"clean.png": [(LEFT, ME)], "none.png": [], "half.png": half, "after.png": after}, half=(24, 12))
    clean = evaluation.read_probes(["clean.png", "none.png"], SIDE)
    assert colours_of(evaluation.read_probes(["half.png", "after.png"], SIDE, clean)) == [YOU, YOU]
    with pytest.raises(ValueError, match="longer than"):
        evaluation.read_probes(["half.png"], SIDE, clean)


def test_somebody_else_in_the_photo_is_no_success(people_at):
    """The tables' probes and the comparison of two files: both look where the clean face was."""
    people_at({"a.jpg": [(LEFT, ME), (RIGHT, YOU)], "lost.png": [(RIGHT, YOU)], "b.png": [(RIGHT, YOU), (LEFT, ME)]})
    reports = {m: pd.DataFrame({"source": ["a.jpg"], "protected": [f"{m}.png"]}) for m in ("lost", "b")}
    found = evaluation.probes_by_method(reports, SIDE)
    colours = {method: colours_of(probes) for method, probes in found.items()}
    assert colours == {"clean": [ME], "lost": [None], "b": [ME]}
    recognizer = NoseRecognizer()
    recognizer.thresholds = {0.01: 0.5}
    known = found["clean"]
    (lost,), (kept,) = (evaluation.compared("a.jpg", f"{m}.png", known, [recognizer], 0.01) for m in ("lost", "b"))
    assert kept.before == kept.after == pytest.approx(1, abs=0.01)
    assert np.isnan(lost.after) and lost.verdict == NOT_PROTECTED


def test_a_photo_that_was_not_protected_is_scored_clean(monkeypatch):
    read = []
    monkeypatch.setattr(tables, "read_probes", lambda files, size, *_: read.append((list(files), size)))
    first = pd.DataFrame({"source": ["a.jpg", "b.jpg"], "protected": ["1/a.png", "1/b.png"]})
    second = first.assign(protected=["2/a.png", ""])
    found = evaluation.probes_by_method({"one": first, "two": second}, 64)
    assert list(found) == ["clean", "one", "two"]
    assert read == [(["a.jpg", "b.jpg"], 64), (["1/a.png", "1/b.png"], 64), (["2/a.png", "b.jpg"], 64)]


@pytest.mark.parametrize("other", [["b.jpg", "a.jpg"], ["a.jpg"]])
def test_reports_of_other_photos_are_not_compared(monkeypatch, other):
    monkeypatch.setattr(tables, "read_probes", list)
    reports = {
        name: pd.DataFrame({"source": files, "protected": ""})
        for name, files in (("one", ["a.jpg", "b.jpg"]), ("two", other))
    }
    with pytest.raises(ValueError, match="the report of two lists other photos"):
        evaluation.probes_by_method(reports, SIDE)


def test_a_blank_picture_counts_against_the_method(tmp_path, world):
    pytest.importorskip("mediapipe")
    blank = photo_of(np.full((256, 256, 3), 128, np.uint8), tmp_path / "blank.png")
    probes = evaluation.read_probes([blank], size=SIDE)
    assert probes.found.tolist() == [False] and probes.image.shape == (1, 3, SIDE, SIDE)
    lenient = Judgement(world, "london/001", ["celeba_hq/a"], {"stand-in": -0.5}, 0.01, [])
    table, _ = lenient.table({"wiped": probes}, [NoseRecognizer()], **FACTS)
    assert values(table, "wiped") == {"impersonation": 0, "dodging": 0, "rank-1": 1, "rank-5": 1}
    strict = Judgement(world, "london/001", ["celeba_hq/a"], {"stand-in": 1.5}, 0.01, [])
    table, _ = strict.table({"wiped": probes}, [NoseRecognizer()], **FACTS)
    assert values(table, "wiped")["dodging"] == 0


def test_the_largest_face_of_a_real_photo_is_read(mirror, tmp_path):
    pytest.importorskip("mediapipe")
    photos = sorted(mirror.glob("debruine/webmorphR.stim/*/inst/neutral_front/*_03.jpg"))[:1]
    if not photos:
        pytest.skip("no London photo in this part of the mirror")
    picture = Image.open(photos[0]).convert("RGB").resize((400, 400))
    small = Image.new("RGB", (800, 400), "white")
    small.paste(picture, (0, 0))
    small.paste(picture.resize((200, 200)), (500, 100))
    files = [photo_of(np.asarray(picture), tmp_path / "one.png"), photo_of(np.asarray(small), tmp_path / "two.png")]
    probes = evaluation.read_probes(files, size=64)
    assert probes.found.all()
    (one, two), spread = probes.points.numpy(), np.ptp(probes.points[0].numpy(), axis=0).min()
    assert spread > 10 and np.abs(one - two).max() < 3
    assert (probes.image[0] - probes.image[1]).abs().mean() < 0.1


# ---------------------------------------------------------------- the true makeup transfer


def test_the_truth_itself_has_no_error(noise, tmp_path):
    face, truth = framed(open_photo(noise)), photo_of(noise, tmp_path / "truth.png")
    same = photo_of(noise, tmp_path / "same.png")
    error = evaluation.truth_error(same, truth, face)
    assert math.isnan(error.pop("makeup"))  # the truth is the clean photo: nobody wears makeup here
    assert error == {"lip": 0, "skin": 0, "eyes": 0, "face": 0}


@pytest.mark.parametrize("sign", [1, -1])
def test_the_error_of_a_constant_shift_is_its_size(noise, tmp_path, sign):
    face, truth = framed(open_photo(noise)), photo_of(noise, tmp_path / "truth.png")
    shifted = noise.astype(int)
    shifted[:16] += 10 * sign  # the lips' third
    shifted[16:24] += 6 * sign  # half of the skin's
    shifted[32:, :, 0] -= 9 * sign  # the eyes' third, in red
    picture = photo_of(shifted.astype(np.uint8), tmp_path / "picture.png")
    for pair in ((picture, truth), (truth, picture)):
        error = evaluation.truth_error(*pair, face)
        error.pop("makeup")
        assert error == pytest.approx({"lip": 10, "skin": 3, "eyes": 3, "face": 16 / 3})


def test_errors_of_both_signs_add_up(noise, tmp_path):
    face, truth = framed(open_photo(noise)), photo_of(noise, tmp_path / "truth.png")
    mixed = noise.astype(int)
    mixed[:16, ::2] += 8
    mixed[:16, 1::2] -= 4
    error = evaluation.truth_error(photo_of(mixed.astype(np.uint8), tmp_path / "mixed.png"), truth, face)
    assert error["lip"] == pytest.approx(6) and error["skin"] == error["eyes"] == 0


def test_a_region_that_is_not_there_has_no_truth_error(noise, tmp_path):
    face, truth = framed(open_photo(noise)), photo_of(noise, tmp_path / "truth.png")
    bare = replace(face, masks=face.masks * torch.tensor([0.0, 1, 1])[:, None, None])
    error = evaluation.truth_error(truth, truth, bare)
    assert math.isnan(error["lip"]) and error["skin"] == 0


def test_the_error_is_measured_in_the_clean_faces_frame(noise, tmp_path):
    wide = np.pad(noise, ((0, 0), (8, 0), (0, 0)))
    face = replace(framed(open_photo(noise)), matrix=np.array([[1.0, 0, 8], [0, 1.0, 0]]), photo_size=(56, 48))
    truth, outside, inside = wide.copy(), wide.copy(), wide.copy()
    outside[:, :7] = 255
    inside[:, 8:] += 5
    files = [photo_of(pixels, tmp_path / f"{i}.png") for i, pixels in enumerate((truth, outside, inside))]
    for file, expected in ((files[1], 0), (files[2], 5)):
        error = evaluation.truth_error(file, files[0], face)
        assert [error[region] for region in ("lip", "skin", "eyes", "face")] == pytest.approx([expected] * 4)
    with pytest.raises(ValueError, match=r"from a photo of \(56, 48\) pixels"):
        evaluation.truth_error(photo_of(noise, tmp_path / "small.png"), files[0], face)


def test_the_makeup_error_counts_where_makeup_is_worn(noise, tmp_path):
    calm = (noise // 2 + 40).astype(np.uint8)
    face = framed(open_photo(calm))
    made_up, result = calm.astype(int), calm.astype(int)
    made_up[:8] += 30  # lipstick on half of the lips
    made_up[16:24] += 10  # a breath of powder on half of the skin
    result[:8] += 18  # not quite as much lipstick
    result[32:] += 25  # and something else, where no makeup is
    truth, picture, clean = (
        photo_of(pixels.astype(np.uint8), tmp_path / f"{name}.png")
        for name, pixels in (("truth", made_up), ("picture", result), ("clean", calm))
    )
    assert evaluation.truth_error(picture, truth, face)["makeup"] == pytest.approx((30 * 12 + 10 * 10) / 40)
    assert evaluation.truth_error(clean, truth, face)["makeup"] == pytest.approx((30 * 30 + 10 * 10) / 40)
    assert evaluation.truth_error(truth, truth, face)["makeup"] == 0
    assert math.isnan(evaluation.truth_error(picture, clean, face)["makeup"])


# ---------------------------------------------------------------- published anew


def test_a_republished_picture_is_smaller_or_coarser(noise, tmp_path):
    file = photo_of(noise, tmp_path / "p.png")
    (half,) = evaluation.republished([file], tmp_path / "half", "half")
    (jpeg,) = evaluation.republished([file], tmp_path / "jpeg", "jpeg75")
    assert open_photo(half).rgb.shape == (24, 24, 3) and half.suffix == ".png"
    assert open_photo(jpeg).rgb.shape == noise.shape and jpeg.suffix == ".jpg"
    assert evaluation.quality(file, jpeg)["ssim"] < 1
    with pytest.raises(ValueError, match="how is 'fax'; expected one of jpeg90, jpeg75, jpeg50"):
        evaluation.republished([file], tmp_path, "fax")


@pytest.mark.parametrize("how", evaluation.WAYS)
def test_a_picture_is_republished_in_memory_as_in_a_file(noise, tmp_path, how):
    picture = Image.fromarray(noise)
    made = evaluation.republish(picture, how)
    (file,) = evaluation.republished([photo_of(noise, tmp_path / "p.png")], tmp_path / how, how)
    assert made.mode == "RGB" and np.array_equal(np.asarray(made), open_photo(file).rgb)
    assert made.size == {"half": (24, 24), "screenshot": (36, 36)}.get(how, picture.size)
    assert np.array_equal(np.asarray(picture), noise)  # the picture itself stays
    if made.size == picture.size:
        assert np.abs(np.asarray(made).astype(int) - noise).mean() > 1
    if how in ("blur", "median", "purified"):
        assert np.asarray(made).std() < 0.9 * noise.std()


def test_the_report_card_asks_after_some_of_the_ways():
    assert set(evaluation.REPUBLISHED) < set(evaluation.WAYS)


def test_four_bits_leave_the_middle_of_every_sixteen_levels(noise):
    made = np.asarray(evaluation.republish(Image.fromarray(noise), "4bits")).astype(int)
    assert np.unique(made).tolist() == list(range(40, 201, 16))  # of levels from 40 to 199
    assert np.abs(made - noise).max() == 8


def test_a_picture_cannot_be_republished_by_fax(noise):
    with pytest.raises(ValueError, match=r"how is 'fax'; expected one of jpeg90, .*, half, .*, purified"):
        evaluation.republish(Image.fromarray(noise), "fax")


def test_the_quality_table_needs_no_face(noise, tmp_path):
    clean, protected = photo_of(noise, tmp_path / "c.png"), photo_of(noise + np.uint8(5), tmp_path / "p.png")
    report = pd.DataFrame({"clean": str(clean), "protected": [str(protected), ""], "reference": ""})
    table = evaluation.quality_table({"m": report}, **FACTS)
    assert table["metric"].tolist() == ["psnr", "ssim", "visible"] and set(table["n"]) == {1}
    assert table["value"][0] == pytest.approx(20 * math.log10(255 / 5))


def test_with_a_way_to_find_faces_the_quality_table_has_their_flip(noise, tmp_path, hand_made_detection):
    clean, protected = photo_of(noise, tmp_path / "c.png"), photo_of(noise + np.uint8(5), tmp_path / "p.png")
    report = pd.DataFrame({"clean": [str(clean)], "protected": str(protected)})
    table = evaluation.quality_table({"m": report}, faces.detect_one, **FACTS).set_index("metric")
    assert table.index.tolist() == ["psnr", "ssim", "visible", "flip", "bare skin", "bare skin chroma"]
    assert table.loc["flip", "value"] == pytest.approx(evaluation.flip(noise, noise + np.uint8(5)))


# ---------------------------------------------------------------- one photo and its owner


def test_both_photos_are_compared_with_the_known_one(monkeypatch):
    colours = {"same.png": (1, 0, 0), "other.png": (0, 1, 0), "faceless.png": (1, 0, 0)}

    def read(files, clean=None):
        return probes_of([colours[file] for file in files], [file != "faceless.png" for file in files])

    monkeypatch.setattr(verdicts, "read_probes", read)
    recognizer = NoseRecognizer()
    recognizer.thresholds = {0.1: 0.3, 0.01: 0.5}
    known = read(["same.png"])
    (answer,) = evaluation.compared("same.png", "other.png", known, [recognizer], 0.01)
    assert (answer.recogniser, answer.threshold, answer.lax) == ("stand-in", 0.5, 0.3)
    assert answer.before == pytest.approx(1, abs=0.01) and answer.after == pytest.approx(0, abs=0.01)
    (lost,) = evaluation.compared("same.png", "faceless.png", known, [recognizer], 0.01)
    assert np.isnan(lost.after) and lost.verdict == NOT_PROTECTED  # a lost face is no success
    with pytest.raises(faces.FaceError, match=r"known photo: no face was found, so there is nothing to compare"):
        evaluation.compared("same.png", "other.png", read(["faceless.png"]), [recognizer], 0.01)


# ---------------------------------------------------------------- told apart


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    ordered = evaluation.area_under_curve(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    assert ordered == 1 and evaluation.area_under_curve(np.array([0.0, 2.0]), np.array([1.0, 2.0])) == 0.625
    assert evaluation.area_under_curve(np.zeros(3), np.zeros(4)) == 0.5


def test_the_interval_of_the_area_holds_it_and_shrinks_with_people():
    draw = np.random.default_rng(0)
    negatives, positives = draw.normal(size=200), draw.normal(size=200) + 1
    area, wide = evaluation.area_under_curve(negatives, positives), []
    for people in (20, 200):
        low, high = evaluation.area_interval(negatives[:people], positives[:people])
        wide.append(high - low)
    assert low < area < high and wide[1] < 0.6 * wide[0]
