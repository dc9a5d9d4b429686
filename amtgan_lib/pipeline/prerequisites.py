"""What a notebook reads of those before it: where that is missing, a sentence and a stored example, no traceback."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from amtgan_lib import paths
from amtgan_lib.reporting import results

RESULTS = "05"  # the number of the first notebook that measures all methods together
LINES = 16  # of a stored table
WIDEST = 1000  # pixels of a stored picture


class NotReady(Exception):
    """A notebook was opened before those that it follows; the sentence names the command that makes what it reads."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints in place of a traceback, below the sentence and the example."""
        return ["The cells below are not run: they need these files."]


def require(
    run: Path,
    preset: str,
    *,
    prepared: str = "",
    tables: Iterable[str] = (),
    generators: Iterable[str] = (),
    methods: Iterable[str] = (),
    example: Sequence[str] = (),
) -> None:
    """Return if a notebook's inputs exist; else show a sentence and ``example``, and stop the notebook by NotReady.

    run: its folder. preset: the one that makes missing files. prepared: the set of faces of notebook 1; tables:
    file names, which begin with their notebook's number; generators: methods whose generator is used (attacks
    and controls have none); methods: those whose protected photos are read. example: pictures of results/figures and
    tables of results/measured.
    """
    reads = {paths.PREPARED / f"{prepared}.npz": "01"} if prepared else {}
    reads |= {run / "tables" / name: name.partition("_")[0] for name in tables}
    missing = {file: number for file, number in reads.items() if not file.is_file()}
    to_protect = _missing({method: run / "protected" / method / "reports.csv" for method in methods})
    recipes = _recipes([*generators, *to_protect])
    to_train = _missing({recipe: run / "train" / recipe / "generator.safetensors" for recipe in recipes})
    missing |= dict.fromkeys(to_train.values(), "03") | dict.fromkeys(to_protect.values(), "04")
    if missing:
        command = _command(run, preset, sorted({*missing.values()}), {"recipe": to_train, "method": to_protect})
        told = _sentence([*missing], command)
        _show(told, example)
        raise NotReady(told)


def _missing(files: dict[str, Path]) -> dict[str, Path]:
    return {name: file for name, file in files.items() if not file.is_file()}


def _recipes(methods: Sequence[str]) -> list[str]:
    """The recipes of notebook 3 behind these methods, each once; gradient attacks and controls have none."""
    if not methods:
        return []
    from amtgan_lib.recipes import RECIPES

    return [recipe for recipe in RECIPES if any(method.startswith(recipe) for method in methods)]


def _command(run: Path, preset: str, numbers: Sequence[str], repeated: dict[str, Iterable[str]]) -> str:
    """The notebooks with these numbers; all of the preset where its results are missing, which need all before them."""
    command = f"python -m amtgan_lib pipeline --preset {preset} --run-id {run.name}"
    if max(numbers) >= RESULTS:
        return command
    chosen = "".join(f" -p {name}={','.join(values)}" for name, values in repeated.items() if values)
    return f"{command} --only {','.join(numbers)}{chosen}"


def _sentence(missing: Sequence[Path], command: str) -> str:
    first = missing[0].relative_to(paths.ROOT) if missing[0].is_relative_to(paths.ROOT) else missing[0]
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"This notebook reads files that are not there yet (`{first}`{more}): run `{command}` first."


def into_view() -> None:
    """Scroll JupyterLab to the running cell: Run All has gone to the last cell at once. Other front ends ignore it."""
    from IPython.display import Javascript, display

    # Not before the output is part of the page.
    scroll = "element.closest?.('.jp-NotebookPanel .jp-Cell')?.scrollIntoView?.()"
    display(Javascript(f"setTimeout(() => {scroll}, 300)"))


def _show(told: str, example: Sequence[str]) -> None:
    """The sentence and the stored example; an installed package has no pictures."""
    from IPython.display import Image, Markdown, display

    into_view()
    display(Markdown(f"**{told}** Until then, a stored example:"))
    for name in example:
        picture = paths.FIGURES / name
        if picture.suffix == ".csv":
            display(*_stored(paths.MEASURED / name))
        elif picture.is_file():
            display(Image(filename=str(picture), width=WIDEST))


def _stored(file: Path) -> list:
    """Where a table is from, and its first lines: rates of recognisers that took no part, measures of the pictures."""
    from IPython.display import Markdown

    rows = results.read(file)
    rows = rows[rows["note"] != "trained against"]
    first = rows.iloc[0]
    tables: list = [Markdown(f"`{file.name}`: {first.preset}, {first.dataset}, n = {first.n}, commit {first.commit}")]
    for _, part in rows.groupby(rows["recogniser"] == ""):
        index = [name for name in ("dataset", "recogniser", "method") if part[name].nunique() > 1] or ["method"]
        tables.append(results.pivot(part, index).head(LINES))
    return tables
