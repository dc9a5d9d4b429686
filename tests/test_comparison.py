"""Methods side by side: who is judged, what is republished, and which judges are refused."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from amtgan_lib import comparison, evaluation, recognizers, results
from amtgan_lib.comparison import Comparison
from amtgan_lib.results import Row

JUDGE = recognizers.DRAWN[3]


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """Files that were judged, by method; methods that "protect" by writing grey pictures, and one that fails."""
    judged: dict[str, list[str]] = {}
    known = {"attack": recognizers.DRAWN[0], "insider": JUDGE, "failing": ""}

    def protect_each(protectors, pairs, folder, progress, crop):
        reports = {}
        for name in protectors:
            file = folder / name / "p.png"
            file.parent.mkdir(parents=True)
            Image.new("RGB", (32, 32), (90, 90, 90)).save(file)
            protected = "" if name == "failing" else str(file)
            clean = pairs.assign(clean=pairs["source"], protected=protected)
            reports[name] = clean.assign(trained_against=known[name])
        return reports, dict.fromkeys(protectors, 0.5)

    def probes_by_method(reports, progress):
        judged.update({name: report["protected"].tolist() for name, report in reports.items()})
        return judged

    def table(probes, judging, **facts):
        own = {"recogniser": JUDGE, "note": "held out", "n": 1, "far": 0.01, **facts}
        rows = [Row(metric="dodging", value=0.5, method=name, ci_low=0.1, ci_high=0.9, **own) for name in probes]
        return results.frame(rows), pd.DataFrame()

    monkeypatch.setattr(comparison.methods, "protect_each", protect_each)
    monkeypatch.setattr(evaluation, "probes_by_method", probes_by_method)
    return SimpleNamespace(judged=judged, judge=SimpleNamespace(held_out=[JUDGE], table=table))


def side_by_side(seen, tmp_path) -> Comparison:
    source = tmp_path / "clean.png"
    Image.fromarray(np.full((32, 32, 3), 120, np.uint8)).save(source)
    pairs = pd.DataFrame({"probe": ["p.png"], "source": [str(source)], "reference": ["m"]})
    facts = {"preset": "procedural", "seed": 0, "dataset": "drawn test", "target": "t"}
    return Comparison(tmp_path, "12", pairs, seen.judge, [], "family", lambda file, size: None, facts)


def test_one_line_a_method_and_everything_once_more_as_republished(seen, tmp_path):
    compared = side_by_side(seen, tmp_path)
    table = compared.table({"attack": None}, "part", ["half"])
    assert table["method"].tolist() == ["attack", "clean half", "attack half"] == list(seen.judged)
    assert table["seconds"][0] == 0.5 and 0 < table["ssim"][0] < 1 and table["visible"][0] > 0
    stored = results.read(compared.file("part"))
    assert set(stored["experiment"]) == {"12 part"} and set(stored["metric"]) == {"dodging", "psnr", "ssim", "visible"}
    (half,) = seen.judged["attack half"]
    assert Image.open(half).size == (16, 16)


def test_seconds_that_are_given_take_the_place_of_those_of_the_call(seen, tmp_path):
    compared = side_by_side(seen, tmp_path)
    assert compared.table({"attack": None}, "part", seconds={"attack": 0.25})["seconds"].tolist() == [0.25]
    stored = results.read(compared.file("part"))
    assert (stored.loc[stored["method"] == "attack", "seconds"] == 0.25).all()


def test_a_photo_that_failed_is_republished_clean(seen, tmp_path):
    side_by_side(seen, tmp_path).table({"attack": None, "failing": None}, "part", ["half"])
    (half,) = seen.judged["failing half"]
    assert np.asarray(Image.open(half))[0, 0, 0] == 120


def test_a_method_that_knew_a_judge_is_refused(seen, tmp_path):
    with pytest.raises(ValueError, match=f"{JUDGE} .* cannot judge under the 'family' split"):
        side_by_side(seen, tmp_path).table({"insider": None}, "part")
