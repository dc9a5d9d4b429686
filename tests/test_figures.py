"""Figures: how many panels and bars, what is drawn in them, and the file."""

import itertools

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image

from amtgan_lib.demos.explorer import curves
from amtgan_lib.reporting import figures, results

METHODS = ("clean", "published", "corrected", "residual")
RECOGNISERS = ("mobilefacenet_foamliu", "mobilefacenet_xiaoccer", "edgeface_xs", "edgeface_xxs")


@pytest.fixture(autouse=True)
def closed():
    """No figure of one test stays open in the next."""
    yield
    plt.close("all")


def written(figure, path):
    """The figure's PNG as pixels, after it was saved into a new folder."""
    assert isinstance(figure, Figure)
    file = figures.save(figure, path / "new folder" / "figure.png")
    with Image.open(file) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def shown(axis):
    return [image.get_array() for image in axis.get_images()]


# ---------------------------------------------------------------- grid


def pictures(count, width=3):
    return [[np.full((8, 8, 3), 20 * row + column, np.uint8) for column in range(width)] for row in range(count)]


@pytest.mark.parametrize(
    ("rows", "groups", "lines", "columns"), [(4, 1, 4, 3), (4, 2, 2, 6), (5, 3, 2, 9), (2, 3, 1, 6)]
)
def test_grid_shows_every_picture_once_in_its_place(tmp_path, rows, groups, lines, columns):
    figure = figures.grid(pictures(rows), ("source", "reference", "protected"), groups=groups)
    axes = np.array(figure.axes).reshape(lines, columns)
    for row in range(rows):
        for column in range(3):
            line, group = divmod(row, min(groups, rows))
            (array,) = shown(axes[line, group * 3 + column])
            assert array[0, 0, 0] == 20 * row + column
    assert sum(len(shown(axis)) for axis in axes.flat) == rows * 3
    titles = [axis.get_title() for axis in axes[0]]
    assert titles == ["source", "reference", "protected"] * (columns // 3)
    assert not any(axis.axison for axis in axes.flat)
    assert written(figure, tmp_path).std() > 0


def test_grid_takes_pil_pictures_and_no_titles(tmp_path):
    figure = figures.grid([[Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")]])
    assert len(figure.axes) == 2 and not any(axis.get_title() for axis in figure.axes)
    pixels = written(figure, tmp_path).reshape(-1, 3)
    assert (pixels == (255, 0, 0)).all(1).mean() > 0.2 and (pixels == (0, 0, 255)).all(1).mean() > 0.2


# ---------------------------------------------------------------- losses


def history(names, steps=30):
    return [{"step": step, "seconds": 0.1 * step, **{name: 1 / step for name in names}} for step in range(1, steps + 1)]


@pytest.mark.parametrize(("count", "axes"), [(1, 1), (3, 3), (5, 8)])
def test_every_named_loss_has_a_panel(tmp_path, count, axes):
    names = [f"loss {number}" for number in range(count)]
    figure = figures.loss_curves(history(names), "residual")
    assert len(figure.axes) == axes
    assert [axis.get_title() for axis in figure.axes[:count]] == names
    assert [len(axis.lines) for axis in figure.axes] == [1] * count + [0] * (axes - count)
    assert not any(axis.axison for axis in figure.axes[count:])
    assert figure.get_suptitle() == "residual"
    assert written(figure, tmp_path).std() > 0


def test_curves_are_running_means_over_steps():
    rows = [{"step": 10 * number, "seconds": 0.0, "total": float(number % 2)} for number in range(1, 31)]
    line = figures.loss_curves(rows).axes[0].lines[0]
    assert line.get_xdata().tolist() == [10 * number for number in range(1, 31)]
    np.testing.assert_allclose(line.get_ydata()[:3], [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(line.get_ydata()[19:], 1 / 2)


# ---------------------------------------------------------------- scores


def cosines():
    draw = np.random.default_rng(0)
    kinds = {"genuine": draw.normal(0.6, 0.1, 200), "impostor": draw.normal(0.0, 0.1, 2000)}
    parts = [
        pd.DataFrame({"recogniser": name, "kind": kind, "cosine": values})
        for name in RECOGNISERS
        for kind, values in kinds.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_score_distributions_have_a_panel_a_recogniser_with_its_threshold(tmp_path):
    thresholds = {name: 0.2 + 0.01 * number for number, name in enumerate(RECOGNISERS)}
    figure = figures.score_distributions(cosines(), thresholds)
    assert [axis.get_title() for axis in figure.axes] == list(RECOGNISERS)
    assert [axis.lines[0].get_xdata()[0] for axis in figure.axes] == list(thresholds.values())
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["impostor", "genuine"]  # as they lie from left to right
    assert written(figure, tmp_path).std() > 0


def test_genuine_and_impostor_scores_keep_their_colours():
    axis = figures.score_distributions(cosines(), dict.fromkeys(RECOGNISERS, 0.2)).axes[0]
    for kind, container in zip(("genuine", "impostor"), axis.containers):
        assert to_hex(container.patches[0].get_facecolor()) == figures.COLOURS[kind].lower()
        highest = max(container.patches, key=lambda bar: bar.get_height())
        assert highest.get_x() == pytest.approx({"genuine": 0.6, "impostor": 0.0}[kind], abs=0.1)


def test_scores_below_the_drawn_range_are_drawn_at_its_edge():
    scores = pd.DataFrame({"recogniser": "a", "kind": ["genuine", "impostor", "impostor"], "cosine": [0.9, -0.8, 0.1]})
    impostors = figures.score_distributions(scores, {"a": 0.2}).axes[0].containers[1]
    heights = [bar.get_height() for bar in impostors.patches]
    assert heights[0] == pytest.approx(max(heights)) and np.count_nonzero(heights) == 2


# ---------------------------------------------------------------- success


def success_table(methods=METHODS, names=RECOGNISERS):
    rows = []
    for place, name in enumerate(names):
        for step, method in enumerate(methods):
            for metric in ("impersonation", "dodging", "rank-1", "rank-5"):
                value = (step + 1) / 10 + place / 100
                note = "held out" if "edgeface" in name else "trained against"
                row = {"method": method, "recogniser": name, "metric": metric, "value": value, "note": note}
                rows.append({**row, "ci_low": value - 0.05, "ci_high": value + 0.1})
    return pd.DataFrame(rows)


def test_success_bars_have_a_panel_a_metric_and_a_bar_a_method_and_recogniser(tmp_path):
    figure = figures.success_bars(success_table())
    assert [axis.get_title() for axis in figure.axes] == [
        results.RATES[name] for name in ("impersonation", "dodging", "rank-1")
    ]
    assert [len(axis.patches) for axis in figure.axes] == [len(METHODS) * len(RECOGNISERS)] * 3
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*METHODS, "recogniser took part in training"]
    keys = [(to_hex(patch.get_facecolor()), bool(patch.get_hatch())) for patch in legend.get_patches()]
    assert keys[:-1] == [(figures.COLOURS[method].lower(), False) for method in METHODS] and keys[-1][1]
    assert written(figure, tmp_path).std() > 0


def test_bars_have_their_values_intervals_colours_and_places():
    figure = figures.success_bars(success_table(), metrics=("rank-5",))
    (axis,) = figure.axes
    bars = [container for container in axis.containers if hasattr(container, "patches")]
    for step, (method, container) in enumerate(zip(METHODS, bars, strict=True)):
        for place, bar in enumerate(container.patches):
            value = 10 * (step + 1) + place
            assert bar.get_height() == pytest.approx(value)
            assert to_hex(bar.get_facecolor()) == figures.COLOURS[method].lower()
            assert round(bar.get_x() + bar.get_width() / 2) == place
        (segments,) = (lines.get_segments() for lines in container.errorbar.lines[2])
        low, high = segments[0][:, 1]
        assert (low, high) == pytest.approx((10 * (step + 1) - 5, 10 * (step + 1) + 10))
    assert [label.get_text() for label in axis.get_xticklabels()] == [name.replace("_", "\n") for name in RECOGNISERS]


def test_bars_of_recognisers_that_trained_are_hatched():
    (axis,) = figures.success_bars(success_table(), metrics=("dodging",)).axes
    for container in (c for c in axis.containers if hasattr(c, "patches")):
        assert [bool(bar.get_hatch()) for bar in container.patches] == [True, True, False, False]


def test_an_unknown_method_has_a_colour_of_its_own():
    (axis,) = figures.success_bars(success_table(methods=("clean", "tip-im")), metrics=("dodging",)).axes
    colours = {to_hex(container.patches[0].get_facecolor()) for container in axis.containers[1::2]}
    assert len(colours) == 2 and not {to_hex(c) for c in list(figures.COLOURS.values())[1:]} & colours


def test_bars_without_an_interval_are_drawn(tmp_path):
    table = success_table().assign(ci_low=np.nan, ci_high=np.nan)
    assert written(figures.success_bars(table), tmp_path).std() > 0


def test_colours_mean_one_thing_each():
    assert len({*figures.COLOURS.values(), figures.OTHER_COLOUR}) == len(figures.COLOURS) + 1
    assert len(set(figures.MARKERS.values())) == len(figures.MARKERS) >= len(figures.COLOURS) - 2


# ---------------------------------------------------------------- readers without one kind of cones

# Machado, Oliveira, Fernandes, IEEE TVCG 2009: linear RGB as people without long, middle or short cones see it.
SEEN_BY = {
    "all cones": np.eye(3),
    "no long cones": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no middle cones": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no short cones": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
SIDE_BY_SIDE = {
    "the default run": [
        *("clean", "pgd", "mi_fgsm", "ti_dim", "tip_im", "adv_makeup"),
        *("makeup_only", "published", "corrected", "residual"),
    ],
    "any target": ["clean", "mi_fgsm", "makeup_only", *(name for name in figures.COLOURS if "any_target" in name)],
    "pairs": ["genuine", "impostor"],
}


def linear(colour):
    return np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)])


def lab(colour, eye):
    xyz = XYZ @ np.clip(np.array(eye) @ linear(colour), 0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", SEEN_BY)
@pytest.mark.parametrize("names", SIDE_BY_SIDE.values(), ids=SIDE_BY_SIDE)
def test_methods_side_by_side_stay_apart_for_every_reader(names, eye):
    seen = {name: lab(figures.COLOURS[name], SEEN_BY[eye]) for name in names}
    distances = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in itertools.combinations(names, 2)}
    nearest = min(distances, key=distances.get)
    assert distances[nearest] > 15, f"{nearest} look alike with {eye}"


def test_colours_stand_out_from_white():
    for name, colour in figures.COLOURS.items():
        assert 1.05 / (XYZ[1] @ linear(colour) + 0.05) > 2, name


# ---------------------------------------------------------------- trade-off, makeup, meters


def rates(**values):
    rows = [
        {"method": method, "metric": metric, "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1}
        for method, pair in values.items()
        for metric, value in zip(("impersonation", "dodging"), pair)
    ]
    return pd.DataFrame(rows)


def quality(**values):
    columns = ("ssim", "lip before", "lip after", "skin before", "skin after", "eyes before", "eyes after")
    rows = [
        {"method": method, "metric": metric, "value": value}
        for method, numbers in values.items()
        for metric, value in zip(columns, numbers)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("measure", "unchanged"), [("ssim", 1.0), ("flip", 0.0)])
def test_the_trade_off_puts_each_method_at_its_change_and_clean_at_none(tmp_path, measure, unchanged):
    table = rates(clean=(0.1, 0.2), residual=(0.6, 0.8))
    pictures = quality(residual=(0.9, 40, 20, 30, 15, 20, 10)).replace({"metric": {"ssim": measure}})
    figure = figures.trade_off(table, pictures, "title", measure)
    assert all(axis.get_xlabel() == figures.UNCHANGED[measure][0] for axis in figure.axes)
    assert [axis.get_title() for axis in figure.axes] == [results.RATES[m] for m in ("impersonation", "dodging")]
    for axis, expected in zip(figure.axes, ([(unchanged, 10), (0.9, 60)], [(unchanged, 20), (0.9, 80)])):
        points = [container[0].get_xydata()[0] for container in axis.containers]
        np.testing.assert_allclose(points, expected)
        colours = [to_hex(container[0].get_color()) for container in axis.containers]
        assert colours == [figures.COLOURS["clean"].lower(), figures.COLOURS["residual"].lower()]
    assert written(figure, tmp_path).size


def test_makeup_distances_show_before_and_after_of_every_region(tmp_path):
    figure = figures.makeup_distances(
        quality(pgd=(0.9, 40, 39, 30, 29, 20, 19), residual=(0.9, 40, 20, 30, 15, 20, 10))
    )
    heights = [[patch.get_height() for patch in axis.patches] for axis in figure.axes]
    assert heights == [[40, 39, 40, 20], [30, 29, 30, 15], [20, 19, 20, 10]]
    assert [axis.get_title() for axis in figure.axes] == ["lip", "skin", "eyes"]
    assert written(figure, tmp_path).size


def test_the_ablation_has_a_point_a_seed_and_the_means_of_the_whole_recipes(tmp_path):
    methods = ("clean", "corrected", "corrected - H", "published")
    index = pd.MultiIndex.from_product([methods, (0, 1)], names=["method", "seed"])
    lines = pd.DataFrame({"dodging": np.arange(8) / 8, "flip": np.arange(8) / 80}, index)
    figure = figures.ablation(lines, "drawn faces")
    for axis, metric in zip(figure.axes, lines, strict=True):
        dots = [line for line in axis.lines if line.get_marker() == "o"]
        assert [line.get_xdata().tolist() for line in dots] == [lines[metric][each].tolist() for each in methods]
        assert [line.get_ydata()[0] for line in dots] == [0, 1, 2, 3]
        means = [line.get_xdata()[0] for line in axis.lines if line.get_marker() != "o"]
        assert means == pytest.approx([lines[metric][each].mean() for each in ("corrected", "published")])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == list(methods) and figure.axes[0].yaxis_inverted()
    assert written(figure, tmp_path).size


def test_meters_draw_both_bars_and_the_threshold_of_each_recogniser(tmp_path):
    table = pd.DataFrame(
        {"recogniser": ["a", "b"], "before": [0.8, 0.7], "after": [0.1, -0.2], "threshold": [0.4, 0.5]}
    )
    figure = figures.meters(table)
    (axis,) = figure.axes
    assert [patch.get_width() for patch in axis.patches] == [0.8, 0.1, 0.7, -0.2]
    assert [line.get_xdata()[0] for line in axis.lines] == [0.4, 0.5]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    assert written(figure, tmp_path).size


# ---------------------------------------------------------------- beside the paper, thresholds, curves


def impersonation(rows, **more):
    columns = {"metric": "impersonation", "ci_low": np.nan, "ci_high": np.nan, **more}
    return pd.DataFrame([{**columns, "method": m, "recogniser": r, "value": v} for m, r, v in rows])


def points(axis):
    return [tuple(float(number) for number in container[0].get_xydata()[0]) for container in axis.containers]


def test_published_and_measured_points_never_share_a_panel(tmp_path):
    theirs = impersonation([("AMT-GAN", "ir152", 0.35), ("AMT-GAN", "facenet", 0.17), ("clean", "ir152", 0.04)])
    ours = impersonation([("clean", "judge", 0.0), ("residual", "judge", 0.2)], ci_low=0.0, ci_high=0.3)
    figure = figures.beside_paper(theirs, ours, "measured here: procedural")
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["clean", "AMT-GAN"]
    assert [text.get_text() for text in right.get_yticklabels()] == ["clean", "residual"]
    assert sorted(points(left)) == [(4, 0), (17, 1), (35, 1)] and points(right) == [(0, 0), (20, 1)]
    assert "published" in left.get_title() and right.get_title() == "measured here: procedural"
    hollow = [[line[0].get_markerfacecolor() == "none" for line in axis.containers] for axis in (left, right)]
    assert all(hollow[0]) and not any(hollow[1])
    ends = right.containers[1][2][0].get_segments()[0][:, 0]
    assert ends.tolist() == [0, 30]
    assert written(figure, tmp_path).std() > 0


def test_threshold_curves_mark_the_threshold_and_the_chosen_method(tmp_path):
    grid = np.linspace(-0.4, 1, 5)
    shares = pd.DataFrame({"threshold": grid, "impersonation": [1, 0.8, 0.5, 0.1, 0], "dodging": [0, 0.2, 0.5, 0.9, 1]})
    both = pd.concat([shares.assign(method="clean"), shares.assign(method="residual")])
    accepts = pd.DataFrame({"threshold": grid, "far": [1, 0.5, 0.01, 0.001, 0]})
    figure = curves.threshold_curves(both, accepts, 0.3, "residual", {0.1: 0.2, 0.01: 0.4})
    assert [axis.get_title() for axis in figure.axes[:2]] == ["accepted as the target", "refused as their owner"]
    clean, residual = figure.axes[0].lines[:2]
    assert residual.get_linewidth() > clean.get_linewidth() and to_hex(residual.get_color()) == "#009e73"
    np.testing.assert_allclose(residual.get_ydata(), [100, 80, 50, 10, 0])
    assert figure.axes[2].get_yscale() == "log" and np.isnan(figure.axes[2].lines[0].get_ydata()[-1])
    assert threshold_lines(figure) == [0.3] * 3
    moving = curves.MovingThreshold(figure)
    first, second, again = (moving.png(place) for place in (0.3, 0.7, 0.3))
    assert threshold_lines(figure) == [0.3] * 3 and first == again != second
    assert "FAR 10, 1 %" in [text.get_text() for text in figure.legends[0].get_texts()]


def threshold_lines(figure):
    return [line.get_xdata()[0] for axis in figure.axes for line in axis.lines if line.get_gid() == curves.THRESHOLD]


def test_curves_have_a_line_a_column(tmp_path):
    table = pd.DataFrame({"a": np.ones(9), "b": np.arange(9.0)}).rename_axis("step")
    (axis,) = figures.curves(table, "loss", smooth=1).axes
    assert [line.get_label() for line in axis.lines] == ["a", "b"] and axis.get_xlabel() == "step"
    assert axis.lines[1].get_ydata().tolist() == list(range(9))
    assert len({line.get_color() for line in axis.lines}) == 2


def test_curves_repeat_their_styles_rather_than_leave_lines_out():
    table = pd.DataFrame(np.ones((2, 15)), columns=list("abcdefghijklmno"))
    (axis,) = figures.curves(table, "loss").axes
    assert len(axis.lines) == 15
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.lines}) == 12


def test_the_first_figure_of_a_notebook_does_not_hide_all_others(monkeypatch):
    """A notebook's backend becomes interactive with its first figure, and must stay so to show the next."""
    monkeypatch.setitem(plt.rcParams, "interactive", False)
    figures.in_style(plt.ion)()
    assert plt.isinteractive()


def test_figures_leave_the_style_of_the_notebook_alone():
    before = dict(plt.rcParams)
    figures.loss_curves(history(["total"]))
    assert dict(plt.rcParams) == before


def test_the_strength_curve_marks_the_picture_shown_on_it(tmp_path):
    rows = [("a", 0.0, 0.9), ("b", 0.0, 0.8), ("a", 0.02, 0.5), ("b", 0.02, 0.6), ("a", 0.04, 0.1), ("b", 0.04, 0.3)]
    curve = pd.DataFrame(rows, columns=["recogniser", "visible", "similarity"]).assign(threshold=0.4)
    curve["flip"] = 2 * curve["visible"]
    now = pd.DataFrame({"recogniser": ["a", "b"], "visible": 0.02, "similarity": [0.5, 0.6], "threshold": 0.4})
    now["flip"] = 0.04
    figure = figures.strength_curve(curve.sample(frac=1, random_state=0).sort_values("recogniser"), now)
    flip, ssim = figure.axes
    for axis, unit, name in ((flip, 4, "FLIP"), (ssim, 2, "1 - SSIM")):
        lines = {line.get_label(): line.get_xydata() for line in axis.lines}
        np.testing.assert_allclose(lines["a"], [(0, 0.5), (unit, 0.1), (2 * unit, -0.3)], atol=1e-9)
        np.testing.assert_allclose(lines["b"], [(0, 0.4), (unit, 0.2), (2 * unit, -0.1)], atol=1e-9)
        marks = [line.get_xydata()[0].tolist() for line in axis.lines if line.get_linestyle() == "None"]
        np.testing.assert_allclose(marks, [(unit, 0.1), (unit, 0.2)], atol=1e-9)
        assert [text.get_text() for text in axis.texts] == ["recognised", "not recognised"]
        assert len({(line.get_color(), line.get_marker()) for line in axis.lines if line.get_label() in "ab"}) == 2
        assert name in axis.get_xlabel()
    assert not plt.get_fignums()  # nothing stays behind when it is drawn at every slider's move
    assert written(figure, tmp_path).size


# ---------------------------------------------------------------- panel and makeups


def test_a_heat_map_writes_whole_per_cent_into_its_cells_and_leaves_unknown_ones_empty(tmp_path):
    rates = pd.DataFrame({"as it is": [0.0, 0.876], "jpeg75": [0.1, np.nan]}, index=["clean", "attack"])
    figure = figures.heat_map(rates, "panel")
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.texts] == ["0", "10", "88"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["as it is", "jpeg75"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["clean", "attack"]
    assert written(figure, tmp_path).std() > 0


def test_violins_have_a_point_for_every_method(tmp_path):
    values = {"dodging": [0.5, 0.6, 0.7], "impersonation": [0.1, 0.1, 0.2]}
    rows = [
        {"method": f"reference {n}", "recogniser": name, "metric": metric, "value": value}
        for name in RECOGNISERS[:2]
        for metric, shares in values.items()
        for n, value in enumerate(shares)
    ]
    figure = figures.violins(pd.DataFrame(rows))
    assert [axis.get_title() for axis in figure.axes] == ["accepted as the target", "refused as their owner"]
    points = [np.sort(part.get_offsets()[:, 1]) for part in figure.axes[1].collections if len(part.get_offsets()) == 3]
    assert len(points) == 2 and all(np.allclose(each, [50, 60, 70]) for each in points)
    assert written(figure, tmp_path).std() > 0
