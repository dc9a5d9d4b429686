"""A study of naturalness: a fair order, answers that are kept, and an honest rate."""

import fakes
import pandas as pd
import pytest
from PIL import Image

from amtgan_lib.demos import session, widgets
from amtgan_lib.demos.session import StudioError
from amtgan_lib.demos.session.study import Pair, Study, drawn_pairs, pairs_in

GREY, RED = "#808080", "#ff0000"  # before, after


@pytest.fixture
def pairs():
    return [Pair(f"p{number}", *(Image.new("RGB", (8, 8), colour) for colour in (GREY, RED))) for number in range(40)]


def is_protected(picture: Image.Image) -> bool:
    return picture.getpixel((0, 0)) == (255, 0, 0)


def test_whoever_sees_the_change_is_always_right_and_whoever_clicks_left_half_of_the_time(pairs):
    sees, left = Study(pairs), Study(pairs)
    while not sees.done:
        sees.answer("left" if is_protected(sees.shown()[0]) else "right", 1.0)
        left.answer("left", 0.5)
    assert sees.rate()[0] == 1 and sees.rate()[1] > 0.9
    rate, low, high = left.rate()
    assert 0.3 < rate < 0.7 and low < rate < high
    with pytest.raises(ValueError, match="no question"):
        sees.answer("left", 1.0)


def test_order_and_sides_are_drawn_by_the_seed(pairs):
    names = [[pair.name for pair in Study(pairs, seed).pairs] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2] and names[0] != sorted(names[0])
    assert sorted(names[2]) == sorted(pair.name for pair in pairs)
    assert Study(pairs, 0).sides != Study(pairs, 1).sides and {*Study(pairs).sides} == {"left", "right"}


def test_answers_are_stored_after_every_click(pairs, tmp_path):
    ticks = iter(range(100))
    panel = widgets.WhichIsProtected(pairs[:3], tmp_path / "study" / "answers.csv", clock=lambda: next(ticks))
    panel.buttons["left"].click()
    stored = pd.read_csv(panel.file)
    assert len(stored) == 1 and stored.answer[0] == "left" and stored.seconds[0] == 1
    assert "Pair 2 of 3" in panel.question.value
    panel.buttons["right"].click()
    panel.buttons["right"].click()
    stored = pd.read_csv(panel.file)
    assert (stored.right == (stored.answer == stored.protected)).all() and len(stored) == 3
    assert "of 3 right" in panel.question.value and all(button.disabled for button in panel.buttons.values())


def test_pairs_are_photos_of_one_name(tmp_path):
    for folder, names in (("before", ("a.png", "b.jpg", "c.png")), ("after", ("a_protected.png", "b.png", "d.png"))):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("RGB", (8, 8), GREY if folder == "before" else RED).save(tmp_path / folder / name)
    found = pairs_in(tmp_path / "before", tmp_path / "after")
    assert [pair.name for pair in found] == ["a", "b"]
    assert all(is_protected(pair.protected) and not is_protected(pair.original) for pair in found)


def test_what_is_no_study_is_refused(tmp_path, pairs):
    with pytest.raises(StudioError, match="is not a folder"):
        pairs_in(tmp_path / "nowhere", tmp_path)
    with pytest.raises(StudioError, match="no photo of"):
        pairs_in(tmp_path, tmp_path)
    with pytest.raises(StudioError, match="at least one pair"):
        Study([])
    with pytest.raises(StudioError, match="8 x 8 before and 4 x 8 after"):
        Pair("p", pairs[0].original, pairs[0].protected.resize((4, 8)))


def test_drawn_people_are_protected_for_it():
    pytest.importorskip("mediapipe")
    (pair,) = drawn_pairs((3,), fakes.few_steps(session.drawn_kit()))
    assert pair.original.size == pair.protected.size and pair.original.tobytes() != pair.protected.tobytes()
