"""The parameters cell of a notebook, read and checked strictly: papermill itself only warns of a misspelt name."""

import ast
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from amtgan_lib.errors import WrongArguments, did_you_mean

if TYPE_CHECKING:
    from nbformat import NotebookNode

GIVEN = ("run_dir", "preset")
"""Parameters that every notebook has and the pipeline sets."""


class PresetError(WrongArguments):
    """A preset, an option or a parameters cell is wrong: refused before anything runs."""


@dataclass(frozen=True)
class Notebook:
    """A notebook, read once: editing the file while the pipeline runs changes nothing."""

    name: str
    node: "NotebookNode"
    defaults: dict[str, object]
    sha256: str
    """Of the cells alone: outputs and metadata do not count."""


@dataclass(frozen=True)
class Text:
    """A value from the command line, which takes the type of the parameter it is meant for."""

    text: str


def read_notebook(name: str, folder: Path) -> Notebook:
    """Read NAME.ipynb and its parameters, or PresetError."""
    import nbformat

    path = folder / f"{name}.ipynb"
    if not path.is_file():
        there = sorted(other.stem for other in folder.glob("*.ipynb"))
        said = did_you_mean(name, there, "there are") if there else "write it."
        raise PresetError(f"There is no notebook {path}: {said}")
    try:
        node = nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        raise PresetError(f"{path} is no notebook: {error}") from error
    cells = "\0".join(f"{cell.cell_type}\0{cell.source}" for cell in node.cells)
    return Notebook(name, node, _defaults(name, node), hashlib.sha256(cells.encode()).hexdigest())


def _defaults(name: str, node: "NotebookNode") -> dict[str, object]:
    tagged = [cell for cell in node.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1 or tagged[0].cell_type != "code":
        raise PresetError(f"{name} has {len(tagged)} cells with the tag parameters: it needs one, a code cell.")
    ours = literals(name, tagged[0].source)
    for given in GIVEN:
        if given not in ours:
            raise PresetError(f"{name} has no parameter {given!r}, which the pipeline sets: add it to the cell.")
    return ours


def literals(name: str, source: str) -> dict[str, object]:
    """Names and values of a parameters cell made of `NAME = literal` lines, or PresetError.

    papermill 2.7 passes over a line with a second `=`, even one in a comment or a string.
    """
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise PresetError(f"{name}: the parameters cell is not Python: {error.msg}.") from error
    for line in source.splitlines():
        if line.count("=") > 1 and not line.lstrip().startswith("#"):
            raise PresetError(f"{name}: a second = hides the parameter of `{line.strip()}` from papermill.")
    parameters: dict[str, object] = {}
    for statement in statements:
        target, value = _assignment(name, statement)
        if target in parameters:
            raise PresetError(f"{name}: the parameter {target!r} is set twice in its cell.")
        parameters[target] = value
    return parameters


def _assignment(name: str, statement: ast.stmt) -> tuple[str, object]:
    wrong = PresetError(f"{name}: `{ast.unparse(statement)}` in the parameters cell is not NAME = literal.")
    match statement:
        case ast.Assign(targets=[ast.Name() as target]) | ast.AnnAssign(target=ast.Name() as target, value=ast.expr()):
            pass
        case _:
            raise wrong
    if target.col_offset or not isinstance(getattr(statement, "annotation", target), ast.Name):
        # `steps: int | None = 3` or `(steps) = 3`, say.
        raise PresetError(f"{name}: papermill cannot read the parameter {target.id!r}: write it as NAME = VALUE.")
    try:
        value = ast.literal_eval(statement.value)
    except ValueError:
        raise wrong from None
    if not _plain(value):
        raise PresetError(
            f"{name}: `{ast.unparse(statement)}` is nothing that papermill can pass: use lists, no tuples."
        )
    return target.id, value


def _plain(value: object) -> bool:
    """Whether papermill carries the value unchanged into a kernel."""
    if isinstance(value, list):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_plain, value.values()))
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def fitted(notebook: Notebook, values: Mapping[str, object]) -> dict[str, object]:
    """The values as the notebook will get them: Path as str, tuple as list; PresetError for a wrong name or type."""
    for name in values:
        if name in GIVEN:
            raise PresetError(f"{notebook.name}: the pipeline sets the parameter {name!r}: leave it out.")
        if name not in notebook.defaults:
            others = [other for other in notebook.defaults if other not in GIVEN]
            raise PresetError(f"{notebook.name} has no parameter {name!r}: {did_you_mean(name, others, 'it has')}")
    return {name: _fit(f"{notebook.name}: {name}", notebook.defaults[name], value) for name, value in values.items()}


def _fit(where: str, default: object, value: object) -> object:
    value = _from_text(value.text, default) if isinstance(value, Text) else _simple(value)
    if not _plain(value):
        raise PresetError(f"{where} cannot be {value!r}: parameters are numbers, strings, lists and dicts of them.")
    if not _same_type(default, value):
        raise PresetError(f"{where} must be like its default {default!r}, and {value!r} is not{_why(default, value)}.")
    return value


def _simple(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_simple(item) for item in value]
    if isinstance(value, dict):
        return {key: _simple(item) for key, item in value.items()}
    return value


def _from_text(text: str, default: object) -> object:
    """`128`, `1e-4`, `true`, `[a, b]` as Python or YAML has them; plain text where the default is text."""
    if isinstance(default, str):
        return text
    import yaml

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text


def _same_type(default: object, value: object) -> bool:
    if default is None:
        return True
    if isinstance(default, list | dict) and type(value) is type(default):
        inner, new = (list(content.values()) if isinstance(content, dict) else content for content in (default, value))
        return not inner or all(any(_same_type(item, other) for item in inner) for other in new)
    if isinstance(default, float) and type(value) is int:
        return True
    return type(value) is type(default)


def _why(default: object, value: object) -> str:
    """YAML 1.1 takes 1e-4 for a string."""
    wants_number = isinstance(default, float) and isinstance(value, str)
    return " (YAML reads 1e-4 as text: write 1.0e-4)" if wants_number and "e" in value.lower() else ""
