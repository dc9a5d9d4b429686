"""Notebooks are stored clean and stay thin: no outputs, no functions, one cell of literal parameters."""

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
INDEX = "index.ipynb"
LINES = 13
"""Of a code cell: longer ones belong into the library."""
FORBIDDEN = {
    r"^\s*(async\s+)?def\s": "defines a function: move it to the library",
    r"\bpip\b": "names pip: packages belong into pyproject.toml",
    r"\bsys\.path\b": "touches sys.path: start it with make",
}


def source(cell: dict) -> str:
    """Text of a cell, which nbformat stores as one string or as a list of lines."""
    return "".join(cell["source"])


def parameter_problems(text: str) -> list[str]:
    """Say what papermill could not inspect or replace in the parameters cell.

    papermill 2.7 reads `name = value` line by line, and a second `=` on the line, even in a comment, hides the name;
    tuples come back as strings; a value derived from another parameter keeps that parameter's default.
    """
    problems = []
    for statement in ast.parse(text).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if len(targets) != 1 or not isinstance(targets[0], ast.Name) or getattr(statement, "value", None) is None:
            problems.append(f"parameters: `{ast.unparse(statement)}` is not one assignment to one name")
            continue
        try:
            value = ast.literal_eval(statement.value)
        except ValueError:
            problems.append(f"parameters: `{ast.unparse(statement)}` is not a literal")
            continue
        if isinstance(value, tuple):
            problems.append(f"parameters: `{ast.unparse(statement)}` is a tuple, which papermill passes as a string")
    crowded = [line for line in text.splitlines() if line.count("=") > 1]
    return problems + [f"parameters: a second = hides `{line.strip()}` from papermill" for line in crowded]


def notebook_problems(notebook: dict) -> list[str]:
    """Say everything that keeps a notebook from being clean and thin."""
    cells = notebook["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    problems = []
    if not cells or cells[0]["cell_type"] != "markdown":
        problems.append("the first cell is not markdown")
    if any(cell["outputs"] or cell["execution_count"] is not None for cell in code):
        problems.append("stored with outputs or execution counts: run nbstripout")
    for pattern, reason in FORBIDDEN.items():
        problems += [reason for cell in code if re.search(pattern, source(cell), flags=re.MULTILINE)]
    tagged = [cell for cell in code if "parameters" in cell["metadata"].get("tags", [])]
    if code and len(tagged) != 1:
        problems.append(f"{len(tagged)} code cells are tagged parameters, not one")
    return problems + [problem for cell in tagged for problem in parameter_problems(source(cell))]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.name for path in NOTEBOOKS])
def test_notebook_is_clean_and_thin(path):
    assert notebook_problems(json.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.name for path in NOTEBOOKS])
def test_notebook_is_valid_and_its_cells_are_short(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    thick = [cell.id for cell in notebook.cells if cell.cell_type == "code" and cell.source.count("\n") >= LINES]
    assert [cell for cell in thick if cell not in parameter_cells(notebook)] == []


def parameter_cells(notebook) -> list[str]:
    return [cell.id for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]


def links(path: Path) -> list[str]:
    """Where the Markdown cells of a notebook lead: targets of links, without those into the web."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join(source(cell) for cell in cells if cell["cell_type"] == "markdown")
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.name for path in NOTEBOOKS])
def test_links_lead_to_files(path):
    assert [target for target in links(path) if not (path.parent / target).is_file()] == []


def test_the_index_names_every_notebook_and_every_notebook_the_index():
    others = [path for path in NOTEBOOKS if path.name != INDEX]
    assert {path.name for path in others} <= set(links(NOTEBOOKS[0].with_name(INDEX)))
    assert all(INDEX in links(path) for path in others)


# The check itself


def code_cell(text: str, **changes) -> dict:
    """A code cell as nbformat stores it."""
    return {
        "cell_type": "code",
        "source": text.splitlines(keepends=True),
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    } | changes


def good_notebook() -> dict:
    """A notebook with nothing to complain about."""
    parameters = code_cell(
        'preset = "procedural"  # or open\nsteps: int = -3\nnames = ["a"]', metadata={"tags": ["parameters"]}
    )
    return {"cells": [{"cell_type": "markdown", "source": "# Title", "metadata": {}}, parameters, code_cell("x = 1")]}


def test_good_notebook_has_no_problem():
    assert notebook_problems(good_notebook()) == []


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (code_cell("x", outputs=[{"output_type": "stream"}]), "stored with outputs"),
        (code_cell("x", execution_count=3), "execution counts"),
        (code_cell("x = 1\ndef f():\n    pass"), "defines a function"),
        (code_cell("if x:\n    async def f():\n        pass"), "defines a function"),
        (code_cell("%pip install torch"), "names pip"),
        (code_cell("import sys\nsys.path.append('..')"), "sys.path"),
        (code_cell("a = 1", metadata={"tags": ["parameters"]}), "2 code cells"),
    ],
)
def test_bad_cell_is_seen(cell, expected):
    notebook = good_notebook()
    notebook["cells"].append(cell)
    (problem,) = notebook_problems(notebook)
    assert expected in problem


def test_notebook_without_title_and_parameters_is_seen():
    assert notebook_problems({"cells": [code_cell("x")]}) == [
        "the first cell is not markdown",
        "0 code cells are tagged parameters, not one",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 2 * b", "not a literal"),
        ("a = Path('x')", "not a literal"),
        ("a, b = 1, 2", "not one assignment"),
        ("import os", "not one assignment"),
        ("a: int", "not one assignment"),
        ("a = (1, 2)", "tuple"),
        ("a = 1  # default = 1", "second ="),
    ],
)
def test_bad_parameter_is_seen(text, expected):
    problems = parameter_problems(text)
    assert problems
    assert expected in problems[0]
