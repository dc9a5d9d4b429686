"""Result rows: provenance, the file, the table for reading, and which method is called the best."""

import json
import math
import subprocess

import numpy as np
import pandas as pd
import pytest

from amtgan_lib import paths
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import COLUMNS, Row

KEYS = {"experiment": "black_box", "preset": "open-small", "dataset": "celeba_hq", "target": "london/001"}


def row(method="residual", recogniser="edgeface_xs", metric="impersonation", value=0.5, n=10, far=0.01, **more):
    return Row(method=method, recogniser=recogniser, metric=metric, value=value, n=n, far=far, **{**KEYS, **more})


RATES = {  # per method and recogniser: impersonation, dodging, rank-1
    "clean": {"edgeface_xs": (0.0, 0.05, 0.9), "edgeface_xxs": (0.1, 0.15, 0.8), "trained": (0.0, 0.0, 1.0)},
    "pretty": {"edgeface_xs": (0.9, 0.1, 0.7), "edgeface_xxs": (0.7, 0.1, 0.7), "trained": (1.0, 1.0, 0.0)},
    "balanced": {"edgeface_xs": (0.4, 0.6, 0.2), "edgeface_xxs": (0.2, 0.4, 0.4), "trained": (0.5, 0.5, 0.5)},
}
PICTURES = {"pretty": (31.0, 0.95), "balanced": (28.123456, 0.9)}
JUDGES = ("edgeface_xs", "edgeface_xxs")


def whole_table(pictures=PICTURES):
    rows = [
        row(method, recogniser, metric, value, ci_low=value / 2, ci_high=(1 + value) / 2, n=40)
        for method, recognisers in RATES.items()
        for recogniser, values in recognisers.items()
        for metric, value in zip(("impersonation", "dodging", "rank-1"), values)
    ]
    for method, values in pictures.items():
        rows += [row(method, "", metric, value, far=None, n=30) for metric, value in zip(("psnr", "ssim"), values)]
    return results.frame(rows)


def lines(markdown):
    """Cells of the lines of every Markdown table in a text."""
    cut = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in cut if set(line) != {"---"}]


# ---------------------------------------------------------------- rows and files


def test_the_columns_are_those_of_the_rules_in_their_order():
    rules = "experiment preset method recogniser dataset target far metric value n ci_low ci_high seed commit"
    assert [*rules.split(), "weights_sha256", "device", "seconds", "source", "note"] == COLUMNS
    assert list(results.frame([]).columns) == COLUMNS


@pytest.mark.parametrize("source", ["measured", "published"])
def test_a_number_is_measured_or_published(source):
    assert row(source=source).source == source


@pytest.mark.parametrize("source", ["", "remembered", "Measured"])
def test_a_number_of_another_source_is_refused(source):
    with pytest.raises(ValueError, match=f"source is '{source}'; expected 'measured' or 'published'"):
        row(source=source)


def test_a_row_must_say_where_it_belongs():
    with pytest.raises(TypeError, match="dataset"):
        Row("e", "p", "m", "r")


def test_rows_come_back_from_the_file(tmp_path):
    rows = [
        row(value=0.123456, seed=20240102, commit="0012345678", weights_sha256="12e45", seconds=1.5, ci_low=0.1),
        row(value=math.inf, recogniser="", target="", far=None, source="published", note="table 1, second hand"),
    ]
    path = results.write(results.frame(rows), tmp_path / "new folder" / "table.csv")
    table = results.read(path)
    pd.testing.assert_frame_equal(table, results.frame(rows), check_dtype=False)
    assert table["commit"].tolist() == ["0012345678", ""]  # an all-digit hash stays text
    assert table["weights_sha256"].tolist() == ["12e45", ""]
    assert table["seed"][0] == 20240102 and pd.isna(table["seed"][1])
    assert table["recogniser"].tolist() == ["edgeface_xs", ""] and table["note"].tolist()[0] == ""


def test_a_long_seed_is_written_whole_beside_a_row_without_one(tmp_path):
    path = results.write(results.frame([row(seed=1234567891), row()]), tmp_path / "table.csv")
    assert "1234567891" in path.read_text()


def test_a_read_table_gives_the_same_summary(tmp_path):
    table = whole_table()
    again = results.read(results.write(table, tmp_path / "table.csv"))
    assert results.summary(again, JUDGES) == results.summary(table, JUDGES)


@pytest.mark.filterwarnings("error")
def test_joined_rows_keep_their_columns_and_types():
    parts = [results.frame([row(far=0.01, seed=1234567891)]), results.frame([row(far=None, recogniser="", seed=None)])]
    table = results.joined(*parts)
    pd.testing.assert_frame_equal(table, results.frame([row(seed=1234567891), row(far=None, recogniser="")]))
    assert len(results.joined(parts[0], parts[0].assign(note="x"), parts[1])) == 3


def test_extra_columns_are_not_written_and_missing_ones_refused(tmp_path):
    table = results.frame([row()])
    written = results.write(table.assign(mood="good"), tmp_path / "table.csv").read_text()
    assert written.splitlines()[0] == ",".join(COLUMNS)
    with pytest.raises(ValueError, match="lacks n, commit"):
        results.write(table.drop(columns=["n", "commit"]), tmp_path / "other.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_reports_keep_empty_cells_empty_and_numbers_numbers(tmp_path):
    path = tmp_path / "reports.csv"
    reports = pd.DataFrame({"protected": ["a.png", ""], "problem": ["", "no face"], "mean_change": [2.5, np.nan]})
    reports.to_csv(path, index=False)
    again = results.read_reports(path)
    assert again["protected"].tolist() == ["a.png", ""] and again["problem"].tolist() == ["", "no face"]
    assert again["mean_change"].mean() == 2.5
    with pytest.raises(FileNotFoundError, match="run notebook 04_protect"):
        results.read_reports(tmp_path / "none.csv")


def test_text_is_written_into_a_new_folder(tmp_path):
    assert results.write_text("# Täbles\n", tmp_path / "a" / "b.md").read_text() == "# Täbles\n"


# ---------------------------------------------------------------- provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An own folder as the checkout."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    # A checkout above the temporary folder is not ours.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def test_outside_a_checkout_there_is_no_commit(checkout):
    assert results.commit() == "no git"


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    assert results.commit() == "no git"


def test_a_commit_says_when_the_checkout_was_changed(checkout):
    def git(*words):
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(checkout), *identity, *words], check=True, capture_output=True)

    def saved(source, output):
        cell = {"cell_type": "code", "source": [source], "outputs": [output], "metadata": {}}
        (checkout / "n.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {"by": output}}))

    (checkout / "a.txt").write_text("one")
    saved("1 + 1", "2")
    git("init")
    git("add", "a.txt", "n.ipynb")
    git("commit", "-m", "one", "--no-verify")
    clean = results.commit()
    assert len(clean) == 10 and int(clean, 16) >= 0
    saved("1 + 1", "3")
    assert results.commit() == clean, "JupyterLab saves outputs by itself"
    saved("1 + 2", "3")
    assert results.commit() == f"{clean}-dirty"
    (checkout / "n.ipynb").write_text("no notebook")
    assert results.commit() == f"{clean}-dirty"
    saved("1 + 1", "2")
    (checkout / "a.txt").write_text("two")
    assert results.commit() == f"{clean}-dirty"


def test_the_device_is_named_in_words():
    assert results.device_name().startswith("CPU ") and results.device_name().endswith("cores")


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.842, 0.756, 0.902), "84.2 [75.6, 90.2]"),
        ((0.842,), "84.2"),
        ((0.0, 0.0, 0.2775), "0.0 [0.0, 27.8]"),
        ((1.0, math.nan, math.nan), "100.0"),
        ((1.0, 0.5, None), "100.0"),
    ],
)
def test_percent(numbers, text):
    assert results.percent(*numbers) == text


def test_pivot_shows_rates_in_per_cent_and_the_rest_as_they_are():
    wide = results.pivot(whole_table(), ["recogniser", "method"])
    assert list(wide.columns) == ["impersonation", "dodging", "rank-1", "psnr", "ssim"]  # as they appear, not sorted
    assert wide.loc[("edgeface_xs", "balanced"), "dodging"] == "60.0 [30.0, 80.0]"
    assert wide.loc[("", "balanced"), "psnr"] == "28.123"
    assert wide.index.tolist()[0] == ("edgeface_xs", "clean")
    assert len(wide) == 9 + 2


def test_pivot_does_not_touch_its_table():
    table = whole_table()
    before = table.copy()
    results.pivot(table, ["method"])
    pd.testing.assert_frame_equal(table, before)


def test_summary_has_every_method_and_every_judge_and_nobody_who_trained():
    text = results.summary(whole_table(), iter(JUDGES))  # judges may be any iterable
    head, *table = lines(text)
    assert text.startswith("Preset `open-small`, celeba_hq: held-out recognisers, 40 test photos, FAR 0.01")
    assert head == ["recogniser", "method", "impersonation", "dodging", "rank-1"]
    assert [line[:2] for line in table[:6]] == [[judge, method] for judge in JUDGES for method in RATES]
    assert table[2][2:] == ["40.0 [20.0, 70.0]", "60.0 [30.0, 80.0]", "20.0 [10.0, 60.0]"]
    assert table[6:] == [["method", "psnr", "ssim"], ["pretty", "31.0", "0.95"], ["balanced", "28.123", "0.9"]]
    assert "trained" not in text


def test_summary_without_pictures_still_has_the_rates():
    text = results.summary(whole_table(pictures={}), JUDGES)
    assert text.count("edgeface_xxs") == 3


def test_method_intervals_are_over_the_judges_alone():
    found = results.method_intervals(whole_table(), JUDGES)
    assert set(found) == {"clean", "balanced", "pretty"}
    assert found["balanced"]["impersonation"] == pytest.approx(0.3)
    assert found["pretty"]["dodging"] == pytest.approx(0.1)
    for rates in found.values():
        for metric in ("impersonation", "dodging", "rank-1"):
            assert rates[f"{metric}_low"] <= rates[metric] <= rates[f"{metric}_high"]


def test_picture_means_have_none_where_there_is_no_finite_number():
    found = results.picture_means(
        whole_table({"balanced": (math.inf,), "pretty": (30.0, 0.9)}).query("recogniser == ''")
    )
    assert found["balanced"]["psnr"] is None
    assert found["pretty"] == pytest.approx({"psnr": 30.0, "ssim": 0.9})


# ---------------------------------------------------------------- seed by seed


def seeds_table():
    """Two variants with two seeds each, two judges, and the clean photos."""
    rows = [row("clean", judge, rate, 0.1, seed=seed) for judge in JUDGES for rate in RATES_2 for seed in (0, 1)]
    for method, seed, rate, after in (("a", 0, 0.2, 8), ("a", 1, 0.6, 10), ("b", 0, 0.5, 4), ("b", 1, 0.5, 6)):
        rows += [row(method, judge, each, rate + shift, seed=seed) for judge, shift in DRIFT for each in RATES_2]
        regions = {"lip": 0, "skin": 3, "eyes": -3}
        moments = {"before": 20, "after": after}
        distances = {f"{name} {moment}": at + off for name, off in regions.items() for moment, at in moments.items()}
        pictures = distances | {"flip": after / 100, "lip error after": 99}
        rows += [row(method, "", metric, value, far=None, seed=seed) for metric, value in pictures.items()]
    return results.frame(rows)


RATES_2, DRIFT = ("impersonation", "dodging"), (("edgeface_xs", -0.1), ("edgeface_xxs", 0.1))


def test_a_line_a_method_and_seed_has_the_mean_of_the_judges_and_of_the_regions():
    found = results.by_seed(seeds_table())
    assert list(found) == ["impersonation", "dodging", "makeup distance", "flip"] and len(found) == 6
    assert found.loc[("a", 1)].tolist() == pytest.approx([0.6, 0.6, 10, 0.1])
    assert found.loc[("clean", 0)].tolist() == pytest.approx([0.1, 0.1, 20, 0])


def test_over_seeds_there_is_a_mean_and_the_ends_in_the_order_of_the_rows():
    found = results.over_seeds(results.by_seed(seeds_table()))
    assert found.index.tolist() == ["clean", "a", "b"]
    assert found.loc["a"].tolist() == [
        "40.0 [20.0, 60.0]",
        "40.0 [20.0, 60.0]",
        "9.0 [8.0, 10.0]",
        "0.090 [0.080, 0.100]",
    ]


# ---------------------------------------------------------------- beside the paper


@pytest.fixture
def literature():
    return results.published(["impersonation"], dataset="CelebA-HQ 1000")


def test_published_rows_name_their_source(literature):
    assert set(literature["source"]) == {"published"} and literature["note"].str.len().min() > 0
    assert set(literature["recogniser"]) == {"irse50", "ir152", "facenet", "mobile_face"}
    assert set(results.published(["fid"])["metric"]) == {"fid"} and len(results.published(["fid"])) >= 3


def test_published_and_measured_numbers_share_no_column_and_no_line(literature):
    here = whole_table()
    here = here[(here["metric"] == "impersonation") & here["recogniser"].isin(JUDGES)]
    table = results.beside_published(literature, here)
    published, measured = table.loc["literature"], table.loc["measured here"]
    assert list(dict.fromkeys(table.index.get_level_values(0))) == ["literature", "measured here"]
    assert (published[list(JUDGES)] == "").all(axis=None)
    assert (measured[["irse50", "ir152", "facenet", "mobile_face"]] == "").all(axis=None)
    assert table.loc[("literature", "second hand: a later paper's table", "AMT-GAN"), "irse50"] == "76.96"
    mine = ("measured here", "open-small, celeba_hq, n = 40", "pretty")
    assert table.loc[mine, "edgeface_xs"] == "90.0 [45.0, 95.0]"


def test_pictures_stand_beside_the_published_fid_and_nothing_is_filled_in():
    here = whole_table().query("metric in ['psnr', 'ssim']")
    table = results.beside_published(results.published(["fid", "psnr", "ssim"]), here, columns="metric")
    assert list(table.columns) == ["fid", "psnr", "ssim"]
    assert (table.loc["measured here"]["fid"] == "").all()
    assert table.loc["literature"].xs("AMT-GAN", level="method")["fid"].tolist() == ["34"]
    assert table.loc["measured here"].xs("pretty", level="method").to_numpy().tolist() == [["", "31.000", "0.950"]]


def test_the_set_up_stands_beside_ours_with_its_source():
    table = results.setup_beside("03_train", {"steps": 80, "photos a step": 2})
    assert list(table.columns) == ["AMT-GAN", "here", "source"]
    assert table.loc["steps"].tolist() == ["13595 (5 epochs of 2719)", "80", "released code"]
    assert table.loc["learning rate", "here"] == "" and table["source"].str.len().min() > 0
    with pytest.raises(ValueError, match="no 'stepps' for 03_train; it has "):
        results.setup_beside("03_train", {"stepps": 80})
