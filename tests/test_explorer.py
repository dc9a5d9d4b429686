"""Stored scores: what they say at any threshold, where they come from, and the panel that shows them."""

import asyncio
import os
import re
import threading
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from amtgan_lib import datasets, evaluation, paths, pipeline
from amtgan_lib.demos import explorer
from amtgan_lib.demos.explorer import curves
from amtgan_lib.reporting import figures, results
from amtgan_lib.reporting.results import Row

PEOPLE = ["drawn/0", "drawn/1", "drawn/2", "drawn/<3>"]
OWNER = {"clean": [0.9, 0.8, 0.7, 0.6], "residual": [0.1, 0.5, 0.2, np.nan]}
TARGET = {"clean": [0.0, 0.0, 0.0, 0.0], "residual": [0.7, 0.3, 0.6, np.nan]}


def write_run(folder, preset="small", pictures=False):
    """A run of two methods on two recognisers, stored as notebooks 2, 4 and 5 store it."""
    tables = folder / "tables"
    tables.mkdir(parents=True)
    scores, rows = [], []
    for name, note in (("cousin", "trained against"), ("judge", "held out")):
        for method in OWNER:
            columns = {"target": TARGET[method], "owner": OWNER[method], "owner_rank": [1, 2, 7, 1]}
            scores.append(pd.DataFrame({**columns, "method": method, "recogniser": name, "person": PEOPLE}))
            about = {"experiment": "black_box_success", "preset": preset, "dataset": "drawn test", "target": "drawn/9"}
            about |= {"method": method, "recogniser": name, "note": note, "commit": "abc1234"}
            rows.append(Row(metric="dodging", value=0.5, n=4, far=0.01, **about))
    pd.concat(scores).to_csv(tables / "05_scores.csv", index=False)
    results.write(results.frame(rows), tables / "05_black_box_success.csv")
    marks = {"far": [0.1, 0.01], "threshold": [0.2, 0.4]}
    pd.concat([pd.DataFrame({"recogniser": name, **marks}) for name in ("cousin", "judge")]).to_csv(
        tables / "02_thresholds.csv", index=False
    )
    curve = {"threshold": [-1.0, 0.2, 0.4, 1.0], "far": [1.0, 0.1, 0.01, 0.0], "impostor_pairs": 500}
    pd.concat([pd.DataFrame({"recogniser": name, **curve}) for name in ("cousin", "judge")]).to_csv(
        tables / "02_false_accepts.csv", index=False
    )
    if pictures:
        write_pictures(folder)
    return folder


def write_pictures(folder):
    place = folder / "protected" / "residual"
    place.mkdir(parents=True)
    lines = []
    for number, person in enumerate(PEOPLE):
        probe, source = f"{number}.png", folder / f"clean {number}.png"
        Image.new("RGB", (300, 300), (60 * number, 0, 0)).save(source)
        Image.new("RGB", (300, 300), (0, 60 * number, 0)).save(place / probe)
        # The absolute path of the machine that made it: only the name counts.
        lines.append({"probe": probe, "person": person, "source": source, "protected": f"/gone/{probe}", "problem": ""})
    pd.DataFrame(lines).assign(mean_change=1.0).to_csv(place / "reports.csv", index=False)


@pytest.fixture
def runs(tmp_path, monkeypatch, asked):
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The drawn photos that were asked for; grey ones are given, since drawing takes most of a second each."""
    photos = []

    def files(assets, **_):
        photos.extend(assets)
        for asset in assets:
            (tmp_path / asset).parent.mkdir(exist_ok=True)
            Image.new("RGB", (160, 160), "grey").save(tmp_path / asset)
        return {asset: tmp_path / asset for asset in assets}

    monkeypatch.setattr(datasets.shown, "files", files)
    return photos


@pytest.fixture
def stored(runs):
    write_run(runs / "r", pictures=True)
    return explorer.read("r")


# What is at hand


def test_without_a_run_the_measured_scores_are_read(runs):
    stored = explorer.read()
    assert explorer.at_hand() == {"results/measured": None} and stored.run is None and stored.files == {}
    assert stored.methods[0] == "clean" and "residual" in stored.methods
    assert stored.title.startswith("procedural, drawn test, 63 photos") and "results/measured" in stored.title


def test_the_newest_run_is_read_and_any_other_by_its_name(runs):
    for age, name in ((20, "old"), (10, "new")):
        scores = write_run(runs / name, preset=name) / "tables" / "05_scores.csv"
        os.utime(scores, (scores.stat().st_mtime - age,) * 2)
    (runs / "latest").symlink_to("old")
    (runs / "without scores").mkdir()
    assert list(explorer.at_hand()) == ["new", "old", "results/measured"]
    assert explorer.read().title.startswith("new, ") and explorer.read("old").title.startswith("old, ")
    with pytest.raises(explorer.NoScores, match=r"'nwe' holds no scores .* there are new, old, results/measured\."):
        explorer.read("nwe")


def test_a_run_elsewhere_is_read_by_its_path(runs, tmp_path):
    folder = write_run(tmp_path / "elsewhere", preset="elsewhere")
    assert explorer.read(str(folder)).title.startswith("elsewhere, ")
    panel = explorer.Explorer(str(folder))
    assert panel.run.value == str(folder) and "results/measured" in dict(panel.run.options).values()


def test_a_run_that_lacks_one_file_is_not_offered(runs):
    (write_run(runs / "r") / "tables" / "02_false_accepts.csv").unlink()
    assert list(explorer.at_hand()) == ["results/measured"]


def test_the_measured_scores_give_the_measured_rates(runs):
    """The raw scores that come along are those behind the table that the README prints."""
    stored = explorer.read("results/measured")
    compared = 0
    for name in stored.recognisers:
        rates = stored.rates_at(name, stored.marks(name)[stored.far])
        table = stored.rates[stored.rates["recogniser"] == name]
        both = rates.merge(table, on=["method", "metric"], suffixes=("", " stored"))
        compared += len(both)
        for column in ("value", "ci_low", "ci_high", "n"):
            np.testing.assert_allclose(both[column], both[f"{column} stored"], atol=1e-6)
    methods = ["clean", *pipeline.load("procedural").repeat["04_protect"]["method"]]
    assert compared == len(stored.rates) == 4 * len(methods) * 4


def test_the_measured_false_accepts_agree_with_the_measured_thresholds(runs):
    stored = explorer.read("results/measured")
    for name in stored.recognisers:
        for far, threshold in stored.marks(name).items():
            assert stored.false_accept_rate(name, threshold) == pytest.approx(far, rel=0.05)


# What a threshold means


def test_rates_follow_the_threshold_and_a_lost_face_never_counts(stored):
    for threshold, accepted, refused in ((-1, 0.75, 0.0), (0.4, 0.5, 0.5), (0.65, 0.25, 0.75), (1, 0.0, 0.75)):
        rates = stored.rates_at("judge", threshold).set_index(["method", "metric"])
        assert rates.loc[("residual", "impersonation"), "value"] == accepted
        assert rates.loc[("residual", "dodging"), "value"] == refused
        assert rates.loc[("residual", "rank-1"), "value"] == 0.5
    row = rates.loc[("residual", "dodging")]
    assert (row["ci_low"], row["ci_high"]) == evaluation.wilson(3, 4)


def test_curves_pass_through_the_rates(stored):
    curves = stored.curves("judge")
    for threshold in (explorer.GRID[40], explorer.GRID[160]):
        rates = stored.rates_at("judge", threshold).set_index(["method", "metric"])["value"]
        for row in curves[curves["threshold"] == threshold].itertuples():
            assert row.impersonation == rates[row.method, "impersonation"]
            assert row.dodging == rates[row.method, "dodging"]
    assert len(curves) == 2 * len(explorer.GRID)


def test_the_false_accept_rate_is_read_off_the_stored_curve(stored):
    assert stored.false_accept_rate("judge", 0.4) == 0.01
    assert stored.false_accept_rate("judge", 0.3) == pytest.approx(0.055)
    assert stored.false_accept_rate("judge", 1) == 0


def test_recognisers_that_took_no_part_come_first(stored):
    assert list(stored.recognisers.items()) == [("judge", "held out"), ("cousin", "trained against")]


@pytest.mark.parametrize(
    ("question", "order", "margins"),
    [("dodging", [0, 2, 1, 3], [0.3, 0.2, -0.1]), ("impersonation", [0, 2, 1, 3], [0.3, 0.2, -0.1])],
)
def test_photos_are_ranked_by_margin_and_a_lost_face_is_the_worst(stored, question, order, margins):
    ranked = stored.ranked("residual", "judge", question, 0.4)
    assert ranked["person"].tolist() == [PEOPLE[number] for number in order]
    assert ranked["margin"].tolist()[:3] == pytest.approx(margins) and np.isnan(ranked["margin"].iloc[3])
    assert ranked["before"].iloc[0] == {"dodging": 0.9, "impersonation": 0.0}[question]
    assert stored.ranked("clean", "judge", "dodging", 0.4)["margin"].iloc[0] == pytest.approx(-0.2)


def test_pictures_are_found_beside_their_report(stored):
    assert stored.files["residual", PEOPLE[1]].read_bytes()[:4] == b"\x89PNG"
    assert stored.files["clean", PEOPLE[1]].name == "clean 1.png"
    assert len(stored.files) == 8
    stored.files["residual", PEOPLE[2]].unlink()
    assert len(explorer.read("r").files) == 7


def test_without_a_run_a_drawn_person_is_shown_without_being_drawn(monkeypatch):
    monkeypatch.setattr(datasets.drawn, "draw", lambda *_: pytest.fail("drawn"))
    pictures = explorer.read("results/measured").pictures(["drawn/0004", "celeba_hq/12"])
    assert list(pictures) == [("clean", "drawn/0004")]
    with Image.open(pictures["clean", "drawn/0004"]) as photo:
        assert photo.size == (160, 160) and np.asarray(photo).std() > 20


# The panel


@pytest.fixture
def panel(stored):
    return explorer.Explorer("r", photos=2)


def shown(panel):
    return re.findall(r"<figcaption>(.*?)<br>", panel.shown.value)


def test_the_panel_opens_at_the_far_of_the_tables_with_the_last_method(panel):
    assert (panel.recogniser.value, panel.method.value, panel.threshold.value) == ("judge", "residual", 0.4)
    assert "<b>0.400</b>" in panel.far.value and "<b>1 %</b> of 500 pairs" in panel.far.value
    assert "small, drawn test, 4 photos, target drawn/9" in panel.title.value
    assert panel.curves.value[:4] == b"\x89PNG"
    assert "50.0 [15.0, 85.0]" in panel.rates.value


def test_a_threshold_moves_everything(panel):
    before = (panel.curves.value, panel.rates.value, panel.far.value, panel.shown.value)
    panel.threshold.value = 0.2
    after = (panel.curves.value, panel.rates.value, panel.far.value, panel.shown.value)
    assert all(one != other for one, other in zip(before, after))
    assert "<b>10 %</b>" in panel.far.value and "1 of 4 are refused as their owner" in panel.shown.value


def test_the_false_accept_rate_is_written_in_plain_digits(panel):
    for threshold, words in ((-0.4, "55 %"), (0.2, "10 %"), (0.4, "1 %"), (0.994, "0.01 %"), (1.0, "0 %")):
        panel.threshold.value = threshold
        assert f"<b>{words}</b>" in panel.far.value
    panel.stored.false_accepts.loc[:, "far"] = 1.0
    panel.threshold.value = 0.0
    assert "<b>100 %</b>" in panel.far.value


def test_a_picture_that_was_written_anew_is_shown_anew(panel):
    before = panel.shown.value
    for file in panel.stored.files.values():
        Image.new("RGB", (300, 300), "white").save(file)
        os.utime(file, (1, 1))
    panel.threshold.value = 0.39
    panel.threshold.value = 0.4
    assert panel.shown.value != before


def test_a_slider_that_rounds_still_means_the_calibrated_threshold(runs):
    panel = explorer.Explorer("results/measured")
    rates, exact = panel.rates.value, panel.stored.marks("drawn_inception")[0.01]
    panel.threshold.value = round(exact, 3)  # as a browser may say
    assert panel.at == exact != panel.threshold.value and panel.rates.value == rates
    panel.threshold.value = round(exact, 3) + explorer.STEP
    assert panel.at == panel.threshold.value


def test_two_threads_do_not_draw_at_the_same_time(panel, monkeypatch):
    """JupyterLab handles widgets in threads of their own: without a lock the curves came out blank."""
    inside, overlap = [], []

    def slowly(curve, at):
        inside.append(at)
        overlap.append(len(inside))
        time.sleep(0.2)
        inside.remove(at)
        return b"at %.1f" % at

    monkeypatch.setattr(panel, "_drawn", slowly)
    moves = [threading.Thread(target=setattr, args=(panel.threshold, "value", value)) for value in (-0.4, 0.9, 0.6)]
    for move in moves:
        move.start()
        time.sleep(0.05)
    for move in moves:
        move.join()
    assert set(overlap) == {1} and panel.curves.value == b"at 0.6"


def test_of_many_moves_only_the_newest_is_drawn(panel, monkeypatch):
    """A drag sends dozens of values: the last is not to wait for all before it."""
    asked, original = [], explorer.Stored.rates_at
    monkeypatch.setattr(explorer.Stored, "rates_at", lambda *given: (asked.append(given[2]), original(*given))[1])

    async def drag():
        for step in range(30):
            panel.threshold.value = 0.3 + step / 100
        panel.pace.finish()

    asyncio.run(drag())
    assert asked == [pytest.approx(0.59)] and "<b>0.590</b>" in panel.far.value


def test_buttons_jump_to_the_calibrated_thresholds(panel):
    ten, one = panel.strictness.children
    ten.click()
    assert (ten.description, panel.threshold.value) == ("1 of 10 strangers passes", 0.2)
    one.click()
    assert panel.threshold.value == 0.4


def test_best_and_worst_photos_are_shown_with_their_pictures(panel):
    assert shown(panel) == ["drawn/0", "drawn/2", "drawn/&lt;3&gt;", "drawn/1"]
    assert panel.shown.value.count("data:image/jpeg;base64,") == 8
    assert panel.shown.value.count('class="good"') == 2 and panel.shown.value.count('class="bad"') == 2
    assert "no face found" in panel.shown.value and "0.30 to spare" in panel.shown.value
    panel.question.value = "impersonation"
    assert "2 of 4 are accepted as the target" in panel.shown.value


def test_another_method_is_marked_and_its_photos_shown(panel):
    assert re.search(r'class="chosen"><th[^>]*>residual', panel.rates.value)
    panel.method.value = "clean"
    assert re.search(r'class="chosen"><th[^>]*>clean', panel.rates.value)
    assert panel.shown.value.count("data:image/jpeg") == 4 and "0.20 short" in panel.shown.value


def test_the_curves_are_drawn_anew_for_another_method_and_recogniser(panel):
    pictures = [panel.curves.value]
    panel.method.value = "clean"
    pictures.append(panel.curves.value)
    panel.run.value = "results/measured"
    pictures.append(panel.curves.value)
    panel.recogniser.value = "drawn_ir"
    pictures.append(panel.curves.value)
    assert len(set(pictures)) == 4


def test_another_recogniser_brings_its_own_threshold(panel):
    panel.threshold.value = 0.9
    panel.recogniser.value = "cousin"
    assert panel.threshold.value == 0.4


def test_another_run_brings_its_own_methods_and_no_stale_picture(panel):
    panel.method.value = "clean"
    panel.run.value = "results/measured"
    assert panel.method.value == "residual" and panel.recogniser.value == "drawn_inception"
    assert panel.threshold.value == pytest.approx(0.42433, abs=1e-4)
    assert panel.shown.value.count("data:image") == panel.shown.value.count('alt="clean"') == 4
    assert "63 photos" in panel.title.value
    panel.run.value = "r"
    assert panel.recogniser.value == "judge" and "data:image" in panel.shown.value


def test_without_a_run_the_photos_that_are_shown_are_looked_up_and_no_others(runs, asked):
    panel = explorer.Explorer("results/measured", photos=2)
    assert sorted(asked) == sorted(_drawn_photo(person) for person in shown(panel)) and len(asked) == 4
    assert panel.shown.value.count("<img") == panel.shown.value.count('alt="clean"') == 4
    assert "make reproduce" in panel.shown.value
    panel.method.value = "clean"
    assert panel.shown.value.count("<img") == 4 and "make reproduce" not in panel.shown.value


def _drawn_photo(person):
    number = int(person.removeprefix("drawn/"))
    return datasets.drawn.name(number, None, 2 * number)


def test_photos_of_which_nothing_is_at_hand_are_named(panel):
    for file in panel.stored.files.values():
        file.unlink()
    panel.run.value = "results/measured"
    panel.run.value = "r"
    assert "<img" not in panel.shown.value and "only their names" in panel.shown.value
    assert shown(panel) == ["drawn/0", "drawn/2", "drawn/&lt;3&gt;", "drawn/1"]


def test_what_a_visitor_touches_has_a_class_of_its_own(panel):
    names = "run recogniser method question threshold far strictness curves rates photos-of title"
    found = {name for widget in every(panel.view) for name in widget._dom_classes}
    assert {f"results-{name}" for name in names.split()} | {"results-explorer", "results-far-10"} <= found


def every(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every(child)


def test_the_panel_leaves_no_figure_open(panel):
    import matplotlib.pyplot as plt

    plt.close("all")  # of other tests
    panel.method.value = "clean"
    assert plt.get_fignums() == []


def test_colours_of_the_table_are_those_of_the_figures(panel):
    assert figures.COLOURS["residual"] in panel.rates.value


def test_a_move_of_the_threshold_draws_no_figure(panel, monkeypatch):
    before = panel.curves.value
    monkeypatch.setattr(curves, "threshold_curves", lambda *_: pytest.fail("drawn anew"))
    panel.threshold.value = 0.9
    moved = panel.curves.value
    panel.threshold.value = -0.3
    assert len({before, moved, panel.curves.value}) == 3


def test_of_the_test_nobody_is_drawn_to_be_shown(monkeypatch):
    monkeypatch.setattr(datasets.drawn, "draw", lambda *_: pytest.fail("drawn"))
    stored = explorer.read("results/measured")
    assert len(stored.pictures(set(stored.scores["person"]))) == 63
