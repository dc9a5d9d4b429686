"""Methods side by side: who is judged, what is republished, and which judges are refused."""

from pathlib import Path

import fakes
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from amtgan_lib import faces, recipes, recognizers
from amtgan_lib.evaluation import Judgement
from amtgan_lib.experiments.comparison import Comparison
from amtgan_lib.images import open_photo
from amtgan_lib.methods import Method
from amtgan_lib.protection import ProtectionError
from amtgan_lib.reporting import results

OUTSIDER, JUDGE = recognizers.DRAWN[0], recognizers.DRAWN[3]
COLOURS = {"drawn/red": (1, 0, 0), "drawn/green": (0, 1, 0), "london/blue": (0, 0, 1)}


def face(file, size: int) -> faces.FaceCrop:
    """Every photo is one face."""
    photo = open_photo(file)
    return fakes.photo_crop(photo, scale=photo.size[0] / size, size=size)


class Measuring(fakes.NoseRecognizer):
    """Keeps the sizes of the faces that it is shown."""

    def __init__(self, name: str):
        super().__init__(name)
        self.sizes: set[int] = set()

    def embed(self, images, points=None):
        self.sizes.add(images.shape[-1])
        return super().embed(images, points)


@pytest.fixture
def compared(monkeypatch, tmp_path) -> Comparison:
    """Photos of two people, and a judge who knows faces by the colour of their noses."""
    monkeypatch.setattr(faces, "detect", lambda file, size, **ways: [face(file, size)])
    people = ["drawn/red", "drawn/green"]
    sources = [tmp_path / f"{colour}.png" for colour in ("red", "green")]
    for file, picture in zip(sources, fakes.plain([COLOURS[person] for person in people], 128)):
        Image.fromarray(picture).save(file)
    pairs = pd.DataFrame({"probe": ["0.png", "1.png"], "source": list(map(str, sources)), "reference": str(sources[0])})
    judge = Judgement(fakes.plain_set(COLOURS), "london/blue", people, {JUDGE: 0.9}, 0.01, [JUDGE])
    facts = {"preset": "procedural", "seed": 0, "dataset": "drawn test", "target": "london/blue"}
    return Comparison(tmp_path, "12", pairs, judge, [Measuring(JUDGE)], "family", face, facts)


def method(change, knows: str = OUTSIDER) -> Method:
    return Method("own", change, fakes.SIZE, recipes.RESIDUAL, "london/blue", (knows,))


def blue(crop, _):
    return crop.image.new_tensor([-1, -1, 1])[:, None, None].expand_as(crop.image)


def fails(*_):
    raise ProtectionError("nothing can be done")


def stored(compared: Comparison, metric: str) -> dict[str, float]:
    rows = results.read(compared.file("part"))
    return rows[rows["metric"] == metric].set_index("method")["value"].to_dict()


def test_every_method_is_judged_as_it_is_and_as_it_would_be_republished(compared):
    table = compared.table({"attack": method(blue), "idle": method(lambda crop, _: crop.image)}, "part", ["half"])
    assert table["method"].tolist() == ["clean", "attack", "idle", "clean half", "attack half", "idle half"]
    reached = dict.fromkeys(table["method"], 0) | {"attack": 1, "attack half": 1}
    assert stored(compared, "impersonation") == stored(compared, "dodging") == reached
    similar = table.set_index("method")["ssim"]
    assert similar["idle"] == 1 > similar["attack"] and stored(compared, "ssim").keys() == {"attack", "idle"}
    assert all(Image.open(file).size == (64, 64) for file in Path(compared.run).rglob("attack half/*"))


def test_an_adversary_changes_what_each_method_saved_and_leaves_what_it_cannot_change(compared):
    undone = {"greyed": Method("grey", lambda crop, _: torch.zeros_like(crop.image), fakes.SIZE)}
    undone["failing"] = Method("failing", fails, fakes.SIZE)
    compared.table({"attack": method(blue)}, "part", adversaries=undone)
    reached = dict.fromkeys(("clean", "clean greyed", "clean failing", "attack greyed"), 0)
    assert stored(compared, "impersonation") == reached | {"attack": 1, "attack failing": 1}
    assert stored(compared, "dodging")["clean greyed"] == 1


def test_judges_see_every_face_at_the_size_of_those_in_the_gallery(compared):
    compared.table({"attack": method(blue)}, "part", ["half"])
    assert compared.judging[0].sizes == {compared.judge.face_set.size}


def test_seconds_that_are_given_take_the_place_of_those_of_the_call(compared):
    table = compared.table({"attack": method(blue)}, "part", seconds={"attack": 0.25}).set_index("method")
    assert table["seconds"]["attack"] == 0.25
    rows = results.read(compared.file("part"))
    assert (rows.loc[rows["method"] == "attack", "seconds"] == 0.25).all()


def test_a_photo_that_failed_counts_as_it_would_be_published_clean(compared):
    compared.table({"attack": method(blue), "failing": method(fails)}, "part", ["half"])
    reached = stored(compared, "impersonation")
    assert (reached["failing"], reached["failing half"], reached["attack half"]) == (0, 0, 1)
    (first, _) = sorted(Path(compared.run).rglob("failing half/*"))
    assert np.asarray(Image.open(first).convert("RGB"))[0, 0].tolist() in ([255, 0, 0], [0, 255, 0])


def test_a_photo_of_an_earlier_run_does_not_stand_for_one_that_failed_now(compared):
    for change in (blue, fails):
        compared.table({"own": method(change)}, "part", ["half"])
    assert compared.files("part", "own") == compared.pairs["source"].tolist()
    assert stored(compared, "dodging")["own half"] == 0


def test_a_method_that_knew_a_judge_is_refused(compared):
    with pytest.raises(ValueError, match=JUDGE):
        compared.table({"insider": method(blue, knows=JUDGE)}, "part")
    assert not compared.file("part").exists()


def test_pictures_stand_in_rows_and_a_photo_that_failed_is_shown_clean(compared):
    made = {"attack": method(blue), "failing": method(fails)}
    compared.table(made, "part")
    rows = compared.pictures("part", made, 5)
    assert [len(row) for row in rows] == [3, 3]
    for clean, attacked, failed in rows:
        assert (clean == failed).all() and (clean != attacked).any()
