"""What a run says it will take, before it starts."""

import json
import re

import pytest

from amtgan_lib import errors, paths, pipeline
from amtgan_lib.pipeline import estimate, presets, runs
from amtgan_lib.reporting import results

SMALL = {"03_train.size": 64, "03_train.width": 8, "03_train.views": 1, "03_train.precision": "float32"}


def plan(**overrides):
    return presets.plan(pipeline.load("procedural"), {**SMALL, **overrides})


def speeds(tmp_path, monkeypatch, rows: dict[tuple[str, str], float], device: str = "here") -> None:
    """Only these speeds are stored: (name of a step, metric) -> value."""
    monkeypatch.setattr(paths, "MEASURED", tmp_path)
    known = {"experiment": "speed", "preset": "", "recogniser": "", "target": "", "far": None, "n": 1, "device": device}
    dataset = {"dataset": "run, procedural"}
    table = [
        results.Row(method=name, metric=metric, value=value, **dataset, **known)
        for (name, metric), value in rows.items()
    ]
    results.write(results.frame(table), tmp_path / "speed.csv")


def test_a_training_is_measured_and_multiplied(tmp_path, monkeypatch):
    """On the smallest networks: two real steps, in a process of its own."""
    speeds(tmp_path, monkeypatch, {})
    steps = [step for step in plan() if step.name == "03_train-residual"]
    said = estimate.expected(steps, "procedural")
    assert re.search(r"residual: 50 steps of [\d.]+ s, \d+ (seconds|minutes)", said)
    assert "float32" in said and "what the other notebooks take" in said


def test_without_a_training_nothing_is_said():
    assert estimate.expected([step for step in plan() if step.name == "01_prepare_data"], "procedural") == ""


@pytest.fixture
def one_second_a_step(monkeypatch):
    """Every training takes a second a step."""

    class Done:
        returncode = 0

        def __init__(self, command):
            given = json.loads(command[-1])
            known = {"steps": 60, "warm_up": 0, "seconds": 1.0, "precision": "computes in float32"}
            known |= {name: each for name, each in given[0].items() if name == "warm_up"}
            self.stdout = json.dumps([{"recipe": each["recipe"], **known} for each in given])

    monkeypatch.setattr(estimate.subprocess, "run", lambda command, **_: Done(command))


def test_other_notebooks_take_as_much_longer_as_the_steps_do(tmp_path, monkeypatch, one_second_a_step):
    """Stored: half a second a step and 150 seconds for the others; here a step takes a second."""
    steps = plan()
    trained = [step.name for step in steps if step.notebook.name == estimate.TRAINING]
    rows = {(name, estimate.STEP): 0.5 for name in trained}
    rows |= {(step.name, "seconds"): 10.0 for step in steps}
    others = 10 * (len(steps) - len(trained))
    speeds(tmp_path, monkeypatch, rows)
    last = estimate.expected(steps, "procedural").splitlines()[-1]
    assert last == f"about {estimate.minutes(60 * len(trained) + 2 * others)} in all"


def test_steps_of_the_warm_up_take_a_quarter(tmp_path, monkeypatch, one_second_a_step):
    speeds(tmp_path, monkeypatch, {})
    steps = [step for step in plan(**{"03_train.warm_up": 50}) if step.name == "03_train-corrected"]
    said = estimate.expected(steps, "procedural").splitlines()
    assert said[1] == "  corrected: 60 steps of 1 s (50 of them a quarter as long), 20 seconds"


def test_a_run_that_lacks_a_notebook_is_not_taken_for_the_whole(tmp_path, monkeypatch, one_second_a_step):
    steps = plan()
    trained = [step.name for step in steps if step.notebook.name == estimate.TRAINING]
    speeds(
        tmp_path, monkeypatch, {(name, estimate.STEP): 0.5 for name in trained} | {("01_prepare_data", "seconds"): 1}
    )
    assert "what the other notebooks take" in estimate.expected(steps, "procedural")


def test_a_measurement_that_fails_says_why_and_lets_the_run_go_on():
    steps = [step for step in plan(**{"03_train.recipe": "residual"}) if step.name == "03_train-residual"]
    steps[0].parameters["size"] = 30
    assert "could not be measured: ValueError" in estimate.expected(steps, "procedural")


def test_a_recogniser_that_does_not_exist_is_refused_before_anything_runs():
    steps = [step for step in plan(**{"03_train.recipe": "residual"}) if step.name == "03_train-residual"]
    steps[0].parameters["held_out"] = "drawn_inceptoin"
    with pytest.raises(pipeline.PresetError, match=r"held_out is 'drawn_inceptoin'; .* choose one of "):
        estimate.expected(steps, "procedural")


def test_the_stored_run_of_the_default_preset_foretells_it(one_second_a_step):
    """Of the default run this package says the whole time, not that of its trainings alone."""
    assert estimate.expected(presets.plan(pipeline.load("procedural")), "procedural").endswith("in all")


@pytest.mark.parametrize(
    ("seconds", "words"), [(3, "10 seconds"), (64, "60 seconds"), (400, "7 minutes"), (25_200, "7 hours")]
)
def test_minutes_are_words(seconds, words):
    assert estimate.minutes(seconds) == words


def test_ctrl_c_while_it_is_measured_leaves_a_run_that_can_go_on(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(estimate, "expected", interrupt)
    with pytest.raises(errors.Interrupted, match=r"before the first notebook; to resume: .* --run-id r --resume"):
        pipeline.run("procedural", run_id="r", foretell=True)
    assert runs.read(tmp_path / "runs" / "r")["status"] == "interrupted"
    assert (tmp_path / "runs" / "r" / "report.html").is_file()
