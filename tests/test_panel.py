"""The adversary panel: what is asked of whom, and the rows that follow."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from fakes import SIZE, plain
from PIL import Image
from test_comparison import JUDGE, blue, compared, method  # noqa: F401

from amtgan_lib import datasets, evaluation
from amtgan_lib.experiments import Panel, by_way
from amtgan_lib.methods import Method
from amtgan_lib.reporting import results

HUES = {
    "orange": (1, 0.5),
    "amber": (1, 0.7),
    "lime": (0.5, 1),
    "leaf": (0.3, 1),
    "rust": (1, 0.3),
    "yellow": (0.9, 0.9),
}
LEARNERS = {name: (*hue, 0) for name, hue in HUES.items()}
OTHERS = {name: (red, 0.95 * green, 0.05) for name, (red, green) in HUES.items()}


def tinted(crop, _):
    """Adds blue, which nobody here is told by."""
    return torch.cat([crop.image[:2], torch.ones_like(crop.image[2:])])


@pytest.fixture
def panel(compared, tmp_path, monkeypatch) -> Panel:  # noqa: F811
    """Two methods, and the other photos of everybody in files of their names."""
    learners = pd.DataFrame({"person": list(LEARNERS), "probe": [f"{name}.png" for name in LEARNERS]})
    for part, colours in (("source", LEARNERS), ("other", OTHERS)):
        learners[part] = [f"{tmp_path}/{name}-{part}.png" for name in LEARNERS]
        for picture, file in zip(plain(list(colours.values()), 128), learners[part]):
            Image.fromarray(picture).save(file)
    learners["reference"] = learners["source"]
    monkeypatch.setattr(datasets, "files", lambda names: {name: name for name in names})
    pairs = compared.pairs.assign(person=["drawn/red", "drawn/green"], other=compared.pairs["source"])
    side = replace(compared, pairs=pairs, judge=replace(compared.judge, far=0.2))
    return Panel(side, {"attack": method(blue), "tint": method(tinted)}, learners)


@pytest.fixture
def saved(panel, monkeypatch) -> Panel:
    """The panel after its methods have protected the test photos; no way is asked after."""
    monkeypatch.setattr(evaluation, "WAYS", {})
    assert panel.ways({})["method"].unique().tolist() == ["clean", "attack", "tint"]
    return panel


def rates(rows: pd.DataFrame, metric: str = "dodging") -> dict[str, float]:
    return rows[rows["metric"] == metric].set_index("method")["value"].to_dict()


def test_every_method_is_judged_after_every_way_and_adversary(panel):
    def red(crop, _):
        return crop.image.new_tensor([1, -1, -1])[:, None, None].expand_as(crop.image)

    rows = panel.ways({"repainted": Method("red", red, SIZE)})
    found = rates(rows)
    for how in evaluation.WAYS:
        assert found[f"clean {how}"] == 0 and found[f"attack {how}"] == 1
    assert found["attack repainted"] == found["clean repainted"] == 0.5  # one of two people is red
    wide = by_way(rows)
    assert wide.index.tolist() == ["clean", "attack", "tint"]
    assert wide.columns.tolist() == ["as it is", *evaluation.WAYS, "repainted"]
    assert wide.loc["attack", "repainted"] == 0.5
    (first, _) = panel.pictures("attack", ["repainted"], 2)
    assert len(first) == 2 + len(evaluation.WAYS)
    assert first[0].getpixel((64, 64))[2] > 200 and first[-1].getpixel((64, 64))[0] > 200


def test_photos_that_are_all_moved_to_one_place_are_alike_again(saved):
    found = rates(saved.galleries())
    assert found["attack enrolled protected"] == 1 and found["attack both protected"] == 0
    assert set(results.read(saved.comparison.file("galleries"))["recogniser"]) == {JUDGE}


def test_judges_see_every_face_at_the_size_of_those_in_the_gallery(saved):
    saved.galleries(), saved.verifiers(), saved.detectors()
    assert saved.comparison.judging[0].sizes == {saved.comparison.judge.face_set.size}


def test_a_verifier_that_saw_protected_photos_passes_over_what_they_have_in_common(saved):
    ways, rows = results.read(saved.comparison.file("ways")), saved.verifiers()
    found, wrong = rates(rows), rates(rows, "false accepts")
    assert rates(ways)["tint"] == 1 and found["tint verifier of protected"] == 0
    assert (
        set(found)
        == set(wrong)
        == {
            "clean verifier of clean",
            *(f"{name} verifier of {kind}" for name in ("attack", "tint") for kind in ("clean", "protected")),
        }
    )
    assert wrong["tint verifier of protected"] == 0
    # Each of two people with the other photo of the other one.
    assert (rows.loc[rows["metric"] == "false accepts", "n"] == 2).all()


def test_a_detector_is_judged_on_test_people_alone(saved):
    rows = saved.detectors().set_index("method")
    assert rows["value"].to_dict() == {"attack": 1, "tint": 1}
    assert (rows["n"] == 2).all() and (rows["ci_low"] <= rows["value"]).all()
