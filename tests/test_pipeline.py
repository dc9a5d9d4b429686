"""The pipeline: refuses early, runs in order, fails in one sentence, leaves nothing stale."""

import html
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import fakes
import nbformat
import numpy as np
import pytest
import yaml

from amtgan_lib import __main__ as command_line
from amtgan_lib import errors, paths, pipeline
from amtgan_lib.pipeline import engine, parameters, presets, runs, sweeps
from amtgan_lib.pipeline.parameters import PresetError, Text
from amtgan_lib.reporting import results

ROOT = Path(__file__).resolve().parents[1]
GIVEN = 'run_dir = ""\npreset = ""\n'


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    """A folder with braces in its name, which papermill would fill in, instead of this checkout."""
    root = tmp_path / "a {project}"
    for name in ("notebooks", "presets"):
        (root / name).mkdir(parents=True)
    monkeypatch.setattr(paths, "NOTEBOOKS", root / "notebooks")
    monkeypatch.setattr(paths, "PRESETS", root / "presets")
    monkeypatch.setattr(paths, "RUNS", root / "runs")
    return root


def write_notebook(name: str, own: str = "", *cells: str, given: str = GIVEN, tags: int = 1) -> Path:
    tagged = [nbformat.v4.new_code_cell(given + own, metadata={"tags": ["parameters"]}) for _ in range(tags)]
    node = nbformat.v4.new_notebook(cells=tagged + [nbformat.v4.new_code_cell(cell) for cell in cells])
    node.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(node, paths.NOTEBOOKS / f"{name}.ipynb")
    return paths.NOTEBOOKS / f"{name}.ipynb"


def write_preset(content: object, name: str = "small") -> str:
    (paths.PRESETS / f"{name}.yaml").write_text(
        yaml.safe_dump(content, sort_keys=False) if not isinstance(content, str) else content
    )
    return name


def planned(content: object, **overrides: object) -> list[presets.Step]:
    return presets.plan(presets.load(write_preset(content)), overrides)


def refusal(content: object, **overrides: object) -> str:
    with pytest.raises(PresetError) as caught:
        planned(content, **overrides)
    assert caught.value.exit_status == 2
    return str(caught.value)


@pytest.fixture
def two_notebooks() -> None:
    write_notebook("01_data", "size = 64\nphotos = [1]")
    write_notebook(
        "03_train",
        'size = 64\nsteps: int = 2  # n\nrate = 0.1\nrecipe = "published"\nlimit = None\nfast = False\nfew = {"a": 1}',
    )


BOTH = ["01_data", "03_train"]
RECIPIE = "03_train has no parameter 'recipie': did you mean 'recipe'?"


# Presets


def test_parameters_reach_the_notebooks_that_have_them(two_notebooks):
    data, train = planned(
        {"notebooks": BOTH, "parameters": {"size": 128, "rate": 1}, "notebook_parameters": {"03_train": {"size": 32}}}
    )
    assert data.parameters == {"size": 128, "preset": "small"}
    assert train.parameters == {"size": 32, "rate": 1, "preset": "small"}


def test_repeated_parameters_make_one_step_each_in_order(two_notebooks):
    repeat = {"03_train": {"recipe": ["published", "a b/c"], "rate": [0.5, 1]}}
    steps = planned({"notebooks": ["03_train", "01_data"], "repeat": repeat, "parameters": {"recipe": "residual"}})
    names = ["03_train-published-0.5", "03_train-published-1", "03_train-a_b_c-0.5", "03_train-a_b_c-1", "01_data"]
    assert [step.name for step in steps] == names
    assert steps[3].parameters == {"recipe": "a b/c", "rate": 1, "preset": "small"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1], "is not a mapping"),
        ("a: [", "is not YAML"),
        ("[" * 600, "more than 500 brackets"),
        ({"notebooks": BOTH, "parametres": {}}, "no key 'parametres': did you mean 'parameters'?"),
        ({"notebooks": BOTH, "zzz": {}}, "no key 'zzz': the keys are notebooks, parameters,"),
        ({"parameters": {}}, "needs `notebooks`"),
        ({"notebooks": "01_data"}, "needs `notebooks`"),
        ({"notebooks": ["01_data", "01_data"]}, "each once"),
        ({"notebooks": ["01_dat"]}, "01_dat.ipynb: did you mean '01_data'?"),
        ({"notebooks": BOTH, "parameters": [1]}, "`parameters` must be a mapping"),
        ({"notebooks": BOTH, "repeat": {"03_trian": {}}}, "which it does not run: did you mean '03_train'?"),
        ({"notebooks": BOTH, "repeat": {"03_train": [1]}}, "must be a mapping from parameters"),
        ({"notebooks": BOTH, "repeat": {"03_train": {"rate": 1}}}, "repeats 'rate' over a list"),
        ({"notebooks": BOTH, "repeat": {"03_train": {"rate": []}}}, "repeats 'rate' over a list"),
        ({"notebooks": BOTH, "repeat": {"03_train": {"rate": [1, 1]}}}, "runs 03_train-1 twice"),
        ({"notebooks": BOTH, "repeat": {"03_train": {"recipie": ["a"]}}}, RECIPIE),
        ({"notebooks": BOTH, "notebook_parameters": {"03_train": {"recipie": "a"}}}, RECIPIE),
        ({"notebooks": BOTH, "notebook_parameters": {"01_data": {"zzz": 1}}}, "it has size, photos."),
        ({"notebooks": BOTH, "parameters": {"sise": 1}}, "has a parameter 'sise': did you mean 'size'?"),
        ({"notebooks": BOTH, "parameters": {"03_train.size": 1}}, "has a parameter '03_train.size'"),
        ({"notebooks": BOTH, "parameters": {"run_dir": "x"}}, "the pipeline sets the parameter 'run_dir'"),
        (
            {
                "notebooks": BOTH,
                "notebook_parameters": {"03_train": {"rate": 1}},
                "repeat": {"03_train": {"rate": [1]}},
            },
            "both sets and repeats 'rate'",
        ),
    ],
)
def test_wrong_preset_is_refused(two_notebooks, content, expected):
    assert expected in refusal(content)


def test_unknown_preset_is_refused_with_the_nearest():
    write_preset({}, "open-small")
    with pytest.raises(PresetError, match="no preset 'opensmall': did you mean 'open-small'"):
        presets.load("opensmall")


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("size", 128, True),
        ("size", "128", False),
        ("size", 1.0, False),
        ("size", True, False),
        ("size", None, False),
        ("rate", 1, True),
        ("rate", True, False),
        ("rate", "1e-4", False),
        ("rate", float("nan"), False),
        ("recipe", "x", True),
        ("recipe", Path("x"), True),
        ("recipe", 1, False),
        ("fast", True, True),
        ("fast", 1, False),
        ("photos", (1, 2), True),
        ("photos", [], True),
        ("photos", ["a"], False),
        ("photos", 1, False),
        ("few", {"b": 2}, True),
        ("few", {"b": "2"}, False),
        ("few", [1], False),
        ("limit", 3, True),
        ("limit", "x", True),
        ("limit", object(), False),
        ("limit", {1: 2}, False),
    ],
)
def test_type_of_a_value_is_that_of_the_default(two_notebooks, name, value, fits):
    if fits:
        passed = [step.parameters.get(name) for step in planned({"notebooks": BOTH}, **{name: value})]
        assert any(type(got) in (int, str, bool, list, dict) for got in passed)
    else:
        assert refusal({"notebooks": BOTH}, **{name: value}).startswith(("01_data: ", "03_train: "))


def test_paths_and_tuples_are_passed_as_papermill_can_pass_them(two_notebooks):
    data, train = planned({"notebooks": BOTH}, photos=(1, 2), limit=[Path("a/b"), {"k": (1,)}])
    assert data.parameters["photos"] == [1, 2]
    assert train.parameters["limit"] == ["a/b", {"k": [1]}]


def test_refusal_says_what_yaml_made_of_a_small_number(two_notebooks):
    assert refusal({"notebooks": BOTH}, rate="1e-4").endswith("(YAML reads 1e-4 as text: write 1.0e-4).")


def test_values_of_the_command_line_take_the_type_of_the_default(two_notebooks):
    texts = {
        "size": "256",
        "rate": "1e-4",
        "fast": "true",
        "recipe": "007",
        "photos": "[3, 4]",
        "03_train.limit": "[a]",
    }
    data, train = planned({"notebooks": BOTH, "parameters": {"size": 1}}, **{n: Text(t) for n, t in texts.items()})
    assert data.parameters == {"size": 256, "photos": [3, 4], "preset": "small"}
    assert train.parameters == {
        "size": 256, "rate": 1e-4, "fast": True, "recipe": "007", "limit": ["a"], "preset": "small"
    }  # fmt: skip
    assert "must be like its default 64, and 'x' is not." in refusal({"notebooks": BOTH}, size=Text("x"))
    assert "no notebook '04_x'" in refusal({"notebooks": BOTH}, **{"04_x.size": Text("1")})
    assert "03_train has no parameter 'sizes'" in refusal({"notebooks": BOTH}, **{"03_train.sizes": Text("1")})


def test_override_of_a_repeated_parameter_says_what_to_repeat_over(two_notebooks):
    content = {"notebooks": BOTH, "repeat": {"03_train": {"recipe": ["published", "corrected"]}}}
    assert [step.name for step in planned(content, recipe=Text("residual"))] == ["01_data", "03_train-residual"]
    assert [step.name for step in planned(content, recipe=("a", "b"))][1:] == ["03_train-a", "03_train-b"]
    assert [step.name for step in planned(content, recipe=Text("a, b"))][1:] == ["03_train-a", "03_train-b"]


@pytest.mark.parametrize(
    ("only", "start", "expected"),
    [
        ("", "", ["01_data", "03_train-a", "03_train-b", "05_table"]),
        ("01,05", "", ["01_data", "05_table"]),
        ("05, 01", "", ["01_data", "05_table"]),
        ("03_train-b", "", ["03_train-b"]),
        ("03_train", "", ["03_train-a", "03_train-b"]),
        ("", "03", ["03_train-a", "03_train-b", "05_table"]),
        ("01,03", "03_train-b", ["03_train-b"]),
        ("3", "", "called '3': there are 01_data"),
        ("03_trian", "", "called '03_trian': did you mean '03_train'?"),
        ("", "5", "called '5'"),
        ("01", "03", "Nothing to run"),
    ],
)
def test_only_and_from(two_notebooks, only, start, expected):
    write_notebook("05_table")
    steps = planned({"notebooks": [*BOTH, "05_table"], "repeat": {"03_train": {"recipe": ["a", "b"]}}})
    if isinstance(expected, list):
        assert [step.name for step in presets.select(steps, only, start)] == expected
    else:
        with pytest.raises(PresetError) as caught:
            presets.select(steps, only, start)
        assert expected in str(caught.value)


# The parameters cell


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("rate = 1  # default = 1", "a second = hides the parameter of `rate = 1  # default = 1`"),
        ("a = b = 1", "a second ="),
        ("a = 1; c = 2", "a second ="),
        ("rate = 2 * size", "`rate = 2 * size` in the parameters cell is not NAME = literal"),
        ("out = Path('x')", "not NAME = literal"),
        ("import os", "not NAME = literal"),
        ("a: int", "not NAME = literal"),
        ("a, c = 1, 2", "not NAME = literal"),
        ("a = (1, 2)", "use lists, no tuples"),
        ("a = {1}", "use lists, no tuples"),
        ("a = 1\na = 2", "'a' is set twice"),
        ("a: int | None = 1", "papermill cannot read the parameter 'a'"),
        ("(a) = 1", "papermill cannot read the parameter 'a'"),
        ("a = ", "is not Python: invalid syntax"),
    ],
)
def test_wrong_parameters_cell_is_refused_without_papermills_warnings(own, expected, capfd, caplog):
    write_notebook("01_data", own)
    assert expected in refusal({"notebooks": ["01_data"]})
    assert capfd.readouterr().err == ""


def test_parameters_over_several_lines_and_comments_are_fine():
    path = write_notebook("01_data", "# a = b = c\nnames = [\n    'a',  # first\n    'b',\n]\nrate: float = -1.5  # ok")
    assert parameters.read_notebook("01_data", path.parent).defaults == {
        "run_dir": "", "preset": "", "names": ["a", "b"], "rate": -1.5
    }  # fmt: skip


def test_parameters_cell_must_be_one_and_have_what_the_pipeline_sets():
    write_notebook("01_data", tags=2)
    assert "has 2 cells with the tag parameters" in refusal({"notebooks": ["01_data"]})
    write_notebook("01_data", tags=0)
    assert "has 0 cells" in refusal({"notebooks": ["01_data"]})
    write_notebook("01_data", given='preset = ""\n')
    assert "no parameter 'run_dir', which the pipeline sets" in refusal({"notebooks": ["01_data"]})
    (paths.NOTEBOOKS / "01_data.ipynb").write_text("{}")
    assert "is no notebook" in refusal({"notebooks": ["01_data"]})


def test_hash_is_of_the_cells_only():
    first = parameters.read_notebook("01_data", write_notebook("01_data", "", "x").parent)
    node = nbformat.read(paths.NOTEBOOKS / "01_data.ipynb", as_version=4)
    node.metadata["more"] = 1
    node.cells[1].execution_count = 4
    nbformat.write(node, paths.NOTEBOOKS / "01_data.ipynb")
    assert parameters.read_notebook("01_data", paths.NOTEBOOKS).sha256 == first.sha256
    write_notebook("01_data", "", "y")
    assert parameters.read_notebook("01_data", paths.NOTEBOOKS).sha256 != first.sha256


# The run folder


def test_values_come_back_as_they_were_recorded(project):
    pipeline.record(project, "one", name="x", run_dir=1, score=np.float32(0.5), many=np.arange(3), where=Path("a"))
    pipeline.record(project, "two", old=1)
    pipeline.record(project, "two", new=None)
    assert pipeline.values(project) == {
        "one": {"name": "x", "run_dir": 1, "score": 0.5, "many": [0, 1, 2], "where": "a"},
        "two": {"new": None},
    }
    assert pipeline.values(project / "none") == {}


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf"), [np.array([1, np.nan])], object()])
def test_value_that_is_no_number_is_refused_by_name(project, value):
    with pytest.raises(pipeline.RunError, match="The value 'bad' of one"):
        pipeline.record(project, "one", good=1, bad=value)
    assert pipeline.values(project) == {}


def test_outputs_are_registered_once_relative_to_the_run(project):
    run_dir, outside = project / "runs" / "x", project / "figure.png"
    outside.write_bytes(b"")
    assert pipeline.register_output(run_dir, outside, "old") == outside
    (run_dir / "t.md").write_text("t")
    pipeline.register_output(run_dir, run_dir / "t.md", "table", kind="table")
    pipeline.register_output(str(run_dir), str(outside), "new")
    assert runs.read(run_dir)["outputs"] == [
        {"path": "t.md", "title": "table", "kind": "table", "step": None},
        {"path": "../../figure.png", "title": "new", "kind": "figure", "step": None},
    ]
    for path, kind, words in [
        ("none", "figure", "no file"),
        (outside, "plot", "kinds are"),
        (outside, "table", "text"),
    ]:
        with pytest.raises(pipeline.RunError, match=words):
            pipeline.register_output(run_dir, path, "title", kind=kind)


@pytest.mark.parametrize("run_id", ["../x", "a/b", ".x", "", "a b", "-x"])
def test_run_id_is_a_plain_name(run_id):
    with pytest.raises(pipeline.RunError, match="cannot be called"):
        runs.folder(run_id)


def test_default_run_id_names_preset_time_and_commit(monkeypatch):
    assert runs.default_id("open-small").startswith("open-small-2")
    monkeypatch.setattr(paths, "ROOT", Path("/"))
    assert results.commit() == "no git"
    assert runs.folder(runs.default_id("a")).name.endswith("Z-nogit")


# Running


def cells(path: Path) -> str:
    return "".join(
        output.get("text", "") for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])
    )


def stamps(run_dir: Path) -> dict[str, str]:
    return {name: record["started"] for name, record in runs.read(run_dir)["notebooks"].items()}


LOG = 'from pathlib import Path\nwith open(Path(run_dir) / "log", "a") as file:\n    file.write(f"{word}{preset} ")'
TABLE = """\
from amtgan_lib import pipeline
(table := Path(run_dir) / f"{word}.md").write_text(f"| table of {word} |")
pipeline.register_output(run_dir, table, "Table 1", kind="table")
pipeline.record(run_dir, f"02_b-{word}", words=[word])"""
BROKEN = "answer = 1\nraise ValueError('two\\nlines ' + 'x' * 500)"


def ran_in_order(run_dir: Path, capfd) -> None:
    """A run had its parameters, and says what to open."""
    assert (run_dir / "log").read_text() == 'a"\\small bsmall csmall '
    assert (paths.RUNS / "latest").resolve() == run_dir.resolve()
    state = runs.read(run_dir)
    assert (state["status"], state["overrides"]) == ("done", {"01_a.word": 'a"\\'})
    assert {"commit", "versions", "started", "finished", "seconds"} <= state.keys()
    assert state["notebooks"]["02_b-c"]["parameters"] == {"word": "c", "preset": "small"}
    assert pipeline.values(run_dir) == {"02_b-b": {"words": ["b"]}, "02_b-c": {"words": ["c"]}}
    said = capfd.readouterr()
    assert "[3/3] 02_b-c: done in 0:" in said.out
    assert f"table     {run_dir}/b.md  (Table 1)" in said.out
    assert f"notebook  {run_dir}/notebooks/02_b-b.ipynb" in said.out
    assert said.out.endswith(f"\n\n| table of c |\nreport: {run_dir}/report.html\n")
    page = (run_dir / "report.html").read_text()
    assert 'href="notebooks/02_b-c.ipynb"' in page and '<span class="chip done">done</span></h1>' in page
    assert state["plan"] == ["01_a", "02_b-b", "02_b-c"] and "cores" in state["machine"]
    assert said.err == ""


def failed_at_its_second_step(run_dir: Path, capfd) -> None:
    """The failure is said with its cell, its copy and how to resume; what later steps left is gone."""
    said = capfd.readouterr()
    [line] = said.err.splitlines()
    assert said.out.splitlines()[-1] == f"report: {run_dir}/report.html" and "Done in" not in said.out
    page = (run_dir / "report.html").read_text()
    assert "ValueError: two lines" in page and 'href="notebooks/02_b-b.failed.ipynb"' in page and "not run" in page
    failed = run_dir / "notebooks" / "02_b-b.failed.ipynb"
    assert line.startswith(
        "python -m amtgan_lib: 02_b-b failed in In [3] line 2 `raise ValueError('two\\nlines ' + 'x' * 500)`: "
        "ValueError: two lines"
    )
    command = "python -m amtgan_lib pipeline --preset small -p '01_a.word=a\"\\' --run-id r --resume"
    assert line.endswith(f" ...; see {failed}; to resume: {command}")
    assert f"To resume: {command}" in html.unescape(re.sub("<[^>]*>", "", page))
    assert "1 of 3 steps kept; the others run, since 02_b-b has other cells than it ran with\n" in said.out
    assert sorted(path.name for path in failed.parent.iterdir()) == [
        "01_a.ipynb",
        "02_b-b.failed.ipynb",
        "02_b-b.failed.log",
    ]
    state = runs.read(run_dir)
    assert (state["status"], state["outputs"], pipeline.values(run_dir)) == ("failed", [], {})
    assert {name: record["status"] for name, record in state["notebooks"].items()} == {
        "01_a": "done",
        "02_b-b": "failed",
    }


def test_a_run_a_failure_and_its_repair(capfd):
    """One story, since each kernel takes seconds: run, break and resume, repair and resume."""
    write_notebook("01_a", 'word = "?"', LOG)
    write_notebook("02_b", 'word = "?"', LOG, TABLE)
    write_preset({"notebooks": ["01_a", "02_b"], "repeat": {"02_b": {"word": ["b", "c"]}}})
    run_dir = pipeline.run("small", run_id="r", overrides={"01_a.word": Path('a"\\')})
    ran_in_order(run_dir, capfd)

    # A step that has changed fails: what is before it is kept, what it and those after it left is gone.
    before = stamps(run_dir)
    write_notebook("02_b", 'word = "?"', BROKEN)
    assert (
        command_line.main(["pipeline", "--preset", "small", "--run-id", "latest", "--resume", "-p", '01_a.word=a"\\'])
        == 1
    )
    failed_at_its_second_step(run_dir, capfd)
    assert stamps(run_dir)["01_a"] == before["01_a"]

    # Repaired, it goes on; a copy of the failure does not stay.
    write_notebook("02_b", 'word = "?"', "print(word)")
    overrides = {"01_a.word": 'a"\\', "02_b.word": ["b"]}
    pipeline.run("small", run_id="r", overrides=overrides, resume=True)
    assert cells(run_dir / "notebooks" / "02_b-b.ipynb") == "b\n"
    assert not (run_dir / "notebooks" / "02_b-b.failed.ipynb").exists()
    assert stamps(run_dir)["01_a"] == before["01_a"]


def test_what_is_kept_of_a_run(two_notebooks):
    """The rule alone, over a run.json as runs write it."""
    write_notebook("05_table")
    steps = planned({"notebooks": [*BOTH, "05_table"]})
    run_dir = paths.RUNS / "r"
    (run_dir / "notebooks").mkdir(parents=True)

    reasons = []

    def kept(selected=steps, without_copy="", **changes: dict) -> list[str]:
        records = {}
        for number, step in enumerate(steps):
            copy = runs.copies(run_dir, step.name)["done"]
            copy.unlink(missing_ok=True) if step.name == without_copy else copy.touch()
            same = {
                "parameters": step.parameters,
                "sha256": step.notebook.sha256,
                "status": "done",
                "code": runs.code(),
            }
            records[step.name] = (
                same | {"started": f"{number}0", "finished": f"{number}5"} | changes.get(step.name[3:], {})
            )
        with runs.edit(run_dir) as state:
            state["notebooks"] = records
        keep, why = pipeline.runner.to_keep(run_dir, steps, selected)
        assert bool(why) == (len(keep) < len(selected))
        reasons.append(why)
        return sorted(keep)

    assert kept() == ["01_data", "03_train", "05_table"]
    assert kept(train={"commit": "another"}) == ["01_data", "03_train", "05_table"], "the files are what counts"
    assert kept(train={"parameters": {**steps[1].parameters, "size": 1}}) == ["01_data"]
    assert reasons[-1] == "03_train ran with other parameters (size 1, now 64)"
    default = {**steps[1].parameters, "size": 64}
    assert kept(train={"parameters": default}) == ["01_data", "03_train", "05_table"], "passed or not, it is 64"
    assert kept(train={"sha256": "?"}) == ["01_data"]
    assert kept(train={"status": "failed"}) == ["01_data"]
    assert kept(train={"code": "another", "commit": "c"}) == ["01_data"]
    assert reasons[-1].startswith("03_train ran with other code of the library (commit c, now ")
    assert kept(without_copy="03_train") == ["01_data"]
    assert kept(data={"status": "failed"}) == []
    assert kept(data={"finished": "11"}) == ["01_data"], "run anew while the next had begun"
    assert kept(steps[1:], data={"status": "failed", "finished": "05"}) == ["03_train", "05_table"]
    assert kept(steps[2:], data={"finished": "30"}) == []


def test_faces_that_were_prepared_anew_are_worked_on_anew(project, monkeypatch):
    """Another run may have written the file since: then neither what made it nor what read it is kept."""
    monkeypatch.setattr(paths, "PREPARED", project)
    monkeypatch.setattr(engine, "execute", fakes.execute_here)
    prepared = f"open({str(project / 'x.npz')!r}, 'w').write('40 people')"
    write_notebook("01_data", 'prepared = "x"', prepared)
    write_notebook("02_work", 'prepared = "x"')
    write_notebook("03_table", 'prepared = "y"')
    write_preset({"notebooks": ["01_data", "02_work", "03_table"]})
    run_dir, steps = pipeline.run("small", run_id="r"), presets.plan(presets.load("small"))
    assert pipeline.runner.to_keep(run_dir, steps, steps) == ({"01_data", "02_work", "03_table"}, "")
    (project / "x.npz").write_text("60 people")
    why = "ran on faces that have been prepared differently since"
    assert pipeline.runner.to_keep(run_dir, steps, steps) == (set(), f"01_data {why}")
    assert pipeline.runner.to_keep(run_dir, steps, steps[1:]) == (set(), f"02_work {why}")
    assert pipeline.runner.to_keep(run_dir, steps, steps[2:]) == ({"03_table"}, "")
    write_notebook("01_data", 'prepared = "x"', prepared, "print('in another way')")
    steps = presets.plan(presets.load("small"))
    assert pipeline.runner.to_keep(run_dir, steps, steps[2:]) == (set(), f"03_table {why}"), "as in a sweep"


def test_the_command_that_goes_on_is_one_that_a_shell_takes():
    words = {"--preset": "my presets/p.yaml", "--only": "", "--from": "03"}
    said = pipeline.runner._onward(words, {"steps": "{residual: 7}", "word": "it's"}, "r")
    assert shlex.split(said) == [
        "python", "-m", "amtgan_lib", "pipeline", "--preset", "my presets/p.yaml", "--from", "03",
        "-p", "steps={residual: 7}", "-p", "word=it's", "--run-id", "r", "--resume"
    ]  # fmt: skip


@pytest.fixture
def by_recipe() -> None:
    tables = 'steps = {"residual": 5, "any_target": 4}\nbatch = {"residual": 1, "any_target": 2}\nfew = {"a": 1}'
    write_notebook("01_data")
    write_notebook("03_train", f'recipe = "residual"\n{tables}')
    steps = {"steps": {"residual": 7}}
    write_preset({"notebooks": ["01_data", "03_train"], "notebook_parameters": {"03_train": steps}})


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            "any_target",
            "03_train has no value for the recipe 'any_target' in `steps` (it has one for residual): "
            "add it, such as -p '03_train.steps={residual: 7, any_target: 4}'.",
        ),
        (
            "own",
            "03_train has no value for the recipe 'own' in `steps` (it has one for residual) and "
            "`batch` (it has one for residual, any_target): add it, such as "
            "-p '03_train.steps={residual: 7, own: VALUE}' "
            "-p '03_train.batch={residual: 1, any_target: 2, own: VALUE}'.",
        ),
    ],
)
def test_a_recipe_without_its_values_is_refused_before_anything_runs(by_recipe, capsys, recipe, said):
    command = ["pipeline", "--preset", "small", "-p", f"recipe={recipe}"]
    assert command_line.main(command) == 2
    assert capsys.readouterr().err == f"python -m amtgan_lib: {said}\n"
    assert not paths.RUNS.exists()
    steps = presets.plan(presets.load("small"), {"recipe": recipe})
    presets.check_recipes(presets.select(steps, "01"))
    with pytest.raises(PresetError, match="no value for the recipe"):
        sweeps.run(sweeps.Sweep("small", {"recipe": ("residual", recipe)}))


def test_what_is_suggested_for_a_recipe_is_enough(by_recipe):
    given = {"recipe": Text("any_target"), "03_train.steps": Text("{residual: 7, any_target: 4}")}
    steps = presets.plan(presets.load("small"), given)
    presets.check_recipes(steps)
    assert steps[1].parameters["steps"]["any_target"] == 4


def test_nothing_runs_when_a_later_notebook_is_wrong(two_notebooks, capsys):
    write_preset({"notebooks": BOTH, "notebook_parameters": {"03_train": {"recipie": "x"}}})
    assert command_line.main(["pipeline", "--preset", "small", "--only", "01"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "python -m amtgan_lib: 03_train has no parameter 'recipie': did you mean 'recipe'?\n"
    assert captured.out == ""
    assert not paths.RUNS.exists()
    assert command_line.main(["pipeline", "-p", "size"]) == 2


def test_two_processes_do_not_run_into_one_folder(two_notebooks):
    write_preset({"notebooks": BOTH})
    with runs.held(paths.RUNS / "r"), pytest.raises(pipeline.RunError, match="Another process is running into"):
        pipeline.run("small", run_id="r")
    assert runs.read(paths.RUNS / "r") == {}


def test_code_is_that_of_every_file_of_the_library_and_of_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "paths.py"))
    files = [tmp_path / name for name in ("paths.py", "inner/a.py", "table.csv", "weights/w.safetensors")]
    seen = [runs.code()]
    for path in files:
        path.parent.mkdir(exist_ok=True)
        path.write_text("1")
        seen.append(runs.code())
    files[1].rename(tmp_path / "inner" / "b.py")
    seen.append(runs.code())
    assert len(set(seen)) == len(seen)
    (tmp_path / "README.md").write_text("1")
    assert runs.code() == seen[-1]


def test_a_run_belongs_to_one_preset(two_notebooks):
    with runs.edit(paths.RUNS / "r") as state:
        state["preset"] = "other"
    write_preset({"notebooks": BOTH})
    said = "The run r was made with the preset other: add --preset other to resume it, or choose another --run-id."
    with pytest.raises(pipeline.RunError, match=f"^{said}$"):
        pipeline.run("small", run_id="r")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("import sys; sys.exit()", "01_a failed in a cell that called exit: "),
        (
            "import os; os._exit(3)",
            r"01_a failed in cell 3: the kernel died \(out of memory\? 01_a.failed.log may say\)",
        ),
    ],
)
def test_end_of_the_kernel_is_no_success(cell, expected, capfd):
    write_notebook("01_a", "", cell, "print('never')")
    write_preset({"notebooks": ["01_a"]})
    with pytest.raises(pipeline.NotebookFailed, match=expected):
        pipeline.run("small", run_id="r")
    left = sorted(path.name for path in (paths.RUNS / "r" / "notebooks").iterdir())
    assert left == ["01_a.failed.ipynb", "01_a.failed.log"]
    assert capfd.readouterr().err == ""


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_notebooks_run_in_this_interpreter_whatever_a_kernel_spec_says(project, tmp_path, monkeypatch):
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    wrong = {"argv": ["/bin/false", "{connection_file}"], "display_name": "Python 3", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(wrong))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    name = write_notebook("01_a", "", "import sys; print(sys.executable)").stem
    engine.execute(
        parameters.read_notebook(name, project / "notebooks"), {}, tmp_path / "a.ipynb", tmp_path / "log", "a"
    )
    (printed,) = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[-1].outputs
    assert printed.text.strip() == sys.executable


def test_interrupt_shuts_the_kernel_down_and_is_one_line(project):
    sleep = """\
import os, time
from pathlib import Path
print("step 1\\rstep 2", flush=True)
Path(run_dir, "new").write_text(str(os.getpid()))
os.rename(Path(run_dir, "new"), Path(run_dir, "pid"))
time.sleep(100)"""
    write_notebook("01_a", "", sleep)
    write_preset({"notebooks": ["01_a"]})
    code = (
        "import sys\nfrom pathlib import Path\nfrom amtgan_lib import __main__, paths\n"
        "from amtgan_lib.pipeline import engine\nengine.QUIET_SECONDS = 1\n"
        "root = Path(sys.argv[1])\n"
        "paths.NOTEBOOKS, paths.PRESETS, paths.RUNS = (root / name for name in ('notebooks', 'presets', 'runs'))\n"
        "sys.exit(__main__.main(['pipeline', '--preset', 'small', '--run-id', 'r']))"
    )
    call = [sys.executable, "-c", code, str(project)]
    marker, limit = paths.RUNS / "r" / "pid", time.monotonic() + 400
    with subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not marker.exists() and process.poll() is None and time.monotonic() < limit:
                time.sleep(0.1)
            time.sleep(2.5)
            kernel = int(marker.read_text())
            assert alive(kernel)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=400)
        finally:
            process.kill()
    *progress, line = err.splitlines()
    assert process.returncode == 130
    onward = "python -m amtgan_lib pipeline --preset small --run-id r --resume"
    assert line == f"python -m amtgan_lib: interrupted in 01_a; to resume: {onward}"
    assert progress
    assert all(told.startswith("01_a 00:") for told in progress), err
    assert progress[-1].endswith(" cell 3/3 step 2")
    assert not alive(kernel)
    state = json.loads((paths.RUNS / "r" / "run.json").read_text())
    assert (state["status"], state["notebooks"]["01_a"]["status"]) == ("interrupted", "interrupted")
    left = sorted(path.name for path in (paths.RUNS / "r" / "notebooks").iterdir())
    assert left == ["01_a.failed.ipynb", "01_a.failed.log"]


# In place of notebook 3: it saves what it has when it is interrupted, which takes a while, and goes on from there.
TRAINING = """\
import os, time
from pathlib import Path
folder = Path(run_dir, "train", recipe)
folder.mkdir(parents=True, exist_ok=True)
step = int(Path(resume_from).read_text()) if resume_from else 0
Path(run_dir, f"began-{step}").write_text(str(os.getpid()))
try:
    while step < 2:
        time.sleep(100)
except KeyboardInterrupt:
    time.sleep(seconds_to_save)
    (folder / "checkpoint.pt").write_text("2")
    raise"""
STARTED = """\
import sys
from pathlib import Path
from amtgan_lib import __main__, paths
root = Path(sys.argv[1])
paths.NOTEBOOKS, paths.PRESETS, paths.RUNS = (root / name for name in ("notebooks", "presets", "runs"))
sys.exit(__main__.main(["pipeline", "--preset", "small", "--run-id", "r", *sys.argv[2:]]))"""


@contextmanager
def started(project: Path, marker: Path, *words: str) -> Iterator[subprocess.Popen]:
    """The command in a process of its own, once its notebook has written the marker."""
    call, limit = [sys.executable, "-c", STARTED, str(project), *words], time.monotonic() + 400
    with subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not marker.exists() and process.poll() is None and time.monotonic() < limit:
                time.sleep(0.1)
            yield process
        finally:
            process.kill()


def written_training(seconds_to_save: float) -> None:
    own = f'recipe = "residual"\nresume_from = ""\nseconds_to_save = {seconds_to_save}'
    write_notebook("03_train", own, TRAINING)
    write_preset({"notebooks": ["03_train"]})


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_an_interrupted_training_saves_and_resumes_from_there(project, number, capfd):
    written_training(seconds_to_save=2.5)
    with started(project, paths.RUNS / "r" / "began-0") as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=400)
    assert process.returncode == 130
    assert err.splitlines()[-2:] == [
        "interrupted: waiting for the notebook to save; Ctrl-C ends it at once",
        "python -m amtgan_lib: interrupted in 03_train; "
        "to resume: python -m amtgan_lib pipeline --preset small --run-id r --resume",
    ]
    pipeline.run("small", run_id="r", resume=True)
    assert "03_train goes on from " in capfd.readouterr().out
    assert (paths.RUNS / "r" / "began-2").exists()
    pipeline.run("small", run_id="r", resume=True)
    assert "03_train: kept as it is" in capfd.readouterr().out


def test_a_second_interrupt_does_not_wait(project):
    written_training(seconds_to_save=100)
    with started(project, paths.RUNS / "r" / "began-0") as process:
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(2.5)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not alive(int((paths.RUNS / "r" / "began-0").read_text()))
    assert not (paths.RUNS / "r" / "train" / "residual" / "checkpoint.pt").exists()


def test_a_killed_training_resumes_from_its_last_checkpoint_unless_something_has_changed(project, monkeypatch):
    """The checkpoint of a run that has begun anew since, or with other parameters, is not taken."""
    monkeypatch.setattr(engine, "execute", written := mock.Mock(side_effect=KeyboardInterrupt))
    written_training(seconds_to_save=0)
    checkpoint = paths.RUNS / "r" / "train" / "residual" / "checkpoint.pt"

    def resumed_from(resume: bool = True, **overrides) -> str | None:
        with pytest.raises(errors.Interrupted):
            pipeline.run("small", run_id="r", resume=resume, overrides=overrides)
        return written.call_args.args[1].get("resume_from")

    assert resumed_from(resume=False) is None
    with runs.edit(paths.RUNS / "r") as state:  # as a process leaves it that is killed
        state["notebooks"]["03_train"]["status"] = "running"
    assert resumed_from() is None  # nothing has been saved
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("1")
    assert resumed_from() == str(checkpoint)
    assert resumed_from(seconds_to_save=Text("1")) is None
    assert not checkpoint.exists()


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"msg_type": "stream", "content": {"text": "one\ntwo\n\n"}}, "two"),
        ({"msg_type": "stream", "content": {"text": "\r 10%\r\x1b[31m 20%\x1b[0m \r"}}, "20%"),
        ({"msg_type": "stream", "content": {"text": "\n"}}, ""),
        ({"msg_type": "comm_msg", "content": {"data": {"state": {"value": " 3/9 [<b>01</b>&lt;02]"}}}}, "3/9 [01<02]"),
        ({"msg_type": "comm_msg", "content": {"data": {"state": {"value": 3.0}}}}, ""),
        ({"msg_type": "comm_msg", "content": {"data": {}}}, ""),
        ({"msg_type": "status", "content": {"execution_state": "busy"}}, ""),
    ],
)
def test_last_printed_line_of_a_message(message, line):
    assert engine.printed(message) == line
