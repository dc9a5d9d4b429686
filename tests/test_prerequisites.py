"""A notebook opened before those it needs says which command makes what it reads, and shows a stored example."""

import re
import shlex

import IPython.display
import nbformat
import pytest

from amtgan_lib import paths, pipeline
from amtgan_lib.pipeline.parameters import Text
from amtgan_lib.pipeline.presets import select

ALONE = {
    "00_quickstart",
    "01_prepare_data",
    "02b_train_recognizers",
    "demo_makeup_strength",
    "demo_results",
    "demo_which_is_protected",
    "index",
}
"""Notebooks that read nothing of another one."""
FOLLOWERS = sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb") if path.stem not in ALONE)


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A checkout in which no notebook has run."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PREPARED", tmp_path / "prepared")
    return tmp_path


@pytest.fixture
def shown(monkeypatch) -> list:
    """What is displayed in the notebook."""
    found: list = []
    monkeypatch.setattr(IPython.display, "display", lambda *objects: found.extend(objects))
    return found


def first_cells(name: str) -> list[str]:
    node = nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return [cell.source for cell in node.cells if cell.cell_type == "code"][:2]


@pytest.mark.parametrize("name", FOLLOWERS)
def test_a_notebook_opened_first_stops_with_a_command_that_its_preset_knows(bare, shown, name):
    names: dict = {}
    with pytest.raises(pipeline.NotReady) as stopped:
        for cell in first_cells(name):
            exec(cell, names)
    assert len(shown) > 1, "the sentence and the stored example"
    words = shlex.split(re.search(r"`python -m amtgan_lib pipeline ([^`]+)`", str(stopped.value))[1])
    options = dict(zip(words[::2], words[1::2]))
    assert options.pop("--run-id") == "manual"
    given = [words[i + 1].partition("=") for i, word in enumerate(words) if word == "-p"]
    overrides = {key: Text(value) for key, _, value in given}
    preset = pipeline.load(options["--preset"])
    steps = select(pipeline.plan(preset, overrides), options.get("--only", ""))
    before = {step.notebook.name for step in steps}
    assert "01_prepare_data" in before and (name not in before or "--only" not in options)


def test_nothing_is_shown_where_all_is_there(bare, shown):
    for file in ("prepared/drawn.npz", "run/tables/02_thresholds.csv", "run/protected/pgd/reports.csv"):
        (bare / file).parent.mkdir(parents=True, exist_ok=True)
        (bare / file).touch()
    reads = {"prepared": "drawn", "tables": ["02_thresholds.csv"], "generators": ["pgd"], "methods": ["pgd"]}
    pipeline.require(bare / "run", "procedural", **reads, example=["procedural.csv"])
    assert shown == []


def test_only_what_is_missing_is_made_again(bare):
    (bare / "prepared").mkdir()
    (bare / "prepared" / "drawn.npz").touch()
    with pytest.raises(pipeline.NotReady, match="--only 03,04 -p recipe=residual -p method=residual"):
        pipeline.require(bare / "run", "procedural", prepared="drawn", methods=["residual"])


def test_the_generator_of_a_bare_method_is_its_recipes(bare):
    with pytest.raises(pipeline.NotReady, match=r"any_target/generator.safetensors.*recipe=any_target"):
        pipeline.require(bare / "run", "procedural", generators=["any_target_nobody_bare"])
