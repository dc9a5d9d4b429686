"""What a preset says: which notebooks run, how often, and which parameters differ from the notebooks' defaults.

    notebooks: [01_prepare_data, 03_train]        # in this order
    parameters: {size: 128}                       # for each notebook that has the parameter
    notebook_parameters: {03_train: {steps: 800}} # for one notebook; goes before `parameters`
    repeat: {03_train: {recipe: [published, corrected]}}  # runs 03_train-published, then 03_train-corrected

All keys but `notebooks` are optional. Several repeated parameters of one notebook give every combination.
"""

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from amtgan_lib import paths
from amtgan_lib.errors import did_you_mean
from amtgan_lib.pipeline.parameters import GIVEN, Notebook, PresetError, Text, fitted, read_notebook

MOST_BRACKETS = 500  # PyYAML takes seconds for a few thousand that are open, and hours for what fits into a small file


@dataclass(frozen=True)
class Preset:
    """A preset file, its shape checked; `plan` checks it against the notebooks."""

    name: str
    notebooks: tuple[str, ...]
    parameters: dict[str, object] = field(default_factory=dict)
    notebook_parameters: dict[str, dict[str, object]] = field(default_factory=dict)
    repeat: dict[str, dict[str, list]] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One execution of a notebook; `name` is that of the executed copy."""

    name: str
    notebook: Notebook
    parameters: dict[str, object]
    """All that the pipeline passes, `run_dir` left out."""

    @property
    def values(self) -> dict[str, object]:
        """Every parameter of the notebook as it will run, passed or not."""
        return {**self.notebook.defaults, **self.parameters}


def load(preset: str | Path) -> Preset:
    """Read a preset by its name in presets/ or by the path of a YAML file."""
    import yaml

    path = Path(preset) if str(preset).endswith((".yaml", ".yml")) else paths.PRESETS / f"{preset}.yaml"
    if not path.is_file():
        names = sorted(other.stem for other in paths.PRESETS.glob("*.yaml"))
        raise PresetError(f"There is no preset {str(preset)!r}: {did_you_mean(str(preset), names, 'there are')}")
    try:
        text = path.read_text(encoding="utf-8")
        if text.count("[") + text.count("{") > MOST_BRACKETS:
            raise PresetError(f"The preset {path} has more than {MOST_BRACKETS} brackets: write lists a line an entry.")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):  # a few lines of them fill the memory
            raise PresetError(f"The preset {path} repeats values by aliases (*name): write them out.")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not text, or 2026-13-45
        raise PresetError(f"The preset {path} is not YAML: {error}") from error
    return _checked(path.stem, content)


def _checked(name: str, content: object) -> Preset:
    keys = [field.name for field in fields(Preset) if field.name != "name"]
    if not isinstance(content, dict):
        raise PresetError(f"The preset {name} is not a mapping: it has {', '.join(keys)}.")
    for key in content:
        if key not in keys:
            raise PresetError(f"The preset {name} has no key {key!r}: {did_you_mean(str(key), keys, 'the keys are')}")
    notebooks = content.get("notebooks")
    if not isinstance(notebooks, list) or not notebooks or len(set(map(str, notebooks))) < len(notebooks):
        raise PresetError(f"The preset {name} needs `notebooks`: a list of names, each once.")
    for key in keys[1:]:
        _check_mappings(name, key, content.get(key, {}), [str(notebook) for notebook in notebooks])
    return Preset(name, **{**content, "notebooks": tuple(map(str, notebooks))})


def _check_mappings(name: str, key: str, section: object, notebooks: list[str]) -> None:
    if not isinstance(section, dict) or not all(isinstance(key, str) for key in section):
        raise PresetError(f"The preset {name}: `{key}` must be a mapping from names.")
    if key == "parameters":
        return
    for notebook, inner in section.items():
        if notebook not in notebooks:
            said = did_you_mean(notebook, notebooks, "its notebooks are")
            raise PresetError(f"The preset {name}: `{key}` names {notebook!r}, which it does not run: {said}")
        if not isinstance(inner, dict) or not all(isinstance(key, str) for key in inner):
            raise PresetError(f"The preset {name}: `{key}` of {notebook} must be a mapping from parameters.")
        for parameter, values in inner.items() if key == "repeat" else ():
            if not isinstance(values, list) or not values or any(isinstance(v, list | dict) for v in values):
                raise PresetError(f"The preset {name}: {notebook} repeats {parameter!r} over a list of plain values.")


def plan(preset: Preset, overrides: Mapping[str, object] | None = None, folder: Path | None = None) -> list[Step]:
    """Every execution in order, each parameter checked against its notebook; PresetError for the first that is wrong.

    An override `NAME` goes to each notebook that has the parameter, `NOTEBOOK.NAME` to one. For a repeated parameter it
    replaces the values to repeat over. folder: of the notebooks (default: notebooks/).
    """
    notebooks = [read_notebook(name, folder or paths.NOTEBOOKS) for name in preset.notebooks]
    overrides = dict(overrides or {})
    known = sorted({name for notebook in notebooks for name in notebook.defaults if name not in GIVEN})
    for name in [*preset.parameters, *(name for name in overrides if "." not in name)]:
        if name not in known and name not in GIVEN:
            said = did_you_mean(name, known, "there are")
            raise PresetError(f"No notebook of the preset has a parameter {name!r}: {said}")
    for notebook in (name.rpartition(".")[0] for name in overrides if "." in name):
        if notebook not in preset.notebooks:
            said = did_you_mean(notebook, preset.notebooks, "its notebooks are")
            raise PresetError(f"The preset {preset.name} runs no notebook {notebook!r}: {said}")
    steps = [step for notebook in notebooks for step in _steps(preset, notebook, overrides)]
    names = [step.name for step in steps]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PresetError(f"The preset {preset.name} runs {twice[0]} twice: repeat over values that differ.")
    return steps


def _steps(preset: Preset, notebook: Notebook, overrides: dict[str, object]) -> Iterator[Step]:
    own = preset.notebook_parameters.get(notebook.name, {})
    repeat = dict(preset.repeat.get(notebook.name, {}))
    if both := sorted(set(own) & set(repeat)):
        raise PresetError(f"The preset {preset.name} both sets and repeats {both[0]!r} of {notebook.name}: do one.")
    prefix = f"{notebook.name}."
    over = {name: value for name, value in overrides.items() if name in notebook.defaults}
    over |= {name.removeprefix(prefix): v for name, v in overrides.items() if name.startswith(prefix)}
    for name in repeat.keys() & over.keys():
        repeat[name] = _to_repeat(over.pop(name))
    shared = {name: value for name, value in preset.parameters.items() if name in notebook.defaults}
    for combination in itertools.product(*repeat.values()):
        repeated = fitted(notebook, dict(zip(repeat, combination)))
        parameters = fitted(notebook, {**shared, **own, **over}) | repeated
        suffix = "".join(f"-{re.sub(r'[^A-Za-z0-9.]+', '_', str(value))}" for value in repeated.values())
        yield Step(notebook.name + suffix, notebook, parameters | {"preset": preset.name})


def _to_repeat(value: object) -> list:
    """A repeated parameter on the command line: `recipe=residual` or `recipe=published,residual`."""
    if isinstance(value, Text):
        return [Text(part.strip()) for part in value.text.strip("[]").split(",")]
    return list(value) if isinstance(value, list | tuple) else [value]


def check_recipes(steps: Sequence[Step]) -> None:
    """PresetError if a parameter maps recipes to values, as `steps` of 03_train does, but lacks a step's own recipe.

    A preset's mapping replaces the notebook's, whose values were chosen for another run.
    """
    for step in steps:
        defaults, recipe = step.notebook.defaults, step.values.get("recipe")
        mappings = [name for name, value in defaults.items() if isinstance(value, dict)]
        tables = [name for name in mappings if defaults.get("recipe") in defaults[name]]
        if lacking := {name: step.values[name] for name in tables if recipe not in step.values[name]}:
            raise PresetError(_no_value(step.notebook, str(recipe), lacking))


def _no_value(notebook: Notebook, recipe: str, lacking: Mapping[str, dict]) -> str:
    said = " and ".join(f"`{name}` (it has one for {', '.join(table)})" for name, table in lacking.items())
    added = []
    for name, table in lacking.items():
        whole = {**table, recipe: notebook.defaults[name].get(recipe, "VALUE")}
        inner = ", ".join(f"{key}: {value}" for key, value in whole.items())
        added.append(shlex.join(["-p", f"{notebook.name}.{name}={{{inner}}}"]))
    return f"{notebook.name} has no value for the recipe {recipe!r} in {said}: add it, such as {' '.join(added)}."


def select(steps: list[Step], only: str = "", start: str = "") -> list[Step]:
    """The steps that `only` ("01,03" or "03_train-residual") names, from the first that `start` names."""
    chosen = steps[steps.index(_named(steps, start)[0]) :] if start else steps
    if only:
        names = {step.name for part in only.split(",") for step in _named(steps, part.strip())}
        chosen = [step for step in chosen if step.name in names]
    if not chosen:
        raise PresetError(f"Nothing to run: all of {only!r} comes before {start!r}.")
    return chosen


def _named(steps: list[Step], word: str) -> list[Step]:
    """Steps by their own name, their notebook's, or its number."""
    named = [step for step in steps if word in (step.name, step.notebook.name, step.notebook.name.partition("_")[0])]
    if not named:
        names = list(dict.fromkeys(name for step in steps for name in (step.notebook.name, step.name)))
        raise PresetError(f"No notebook of the preset is called {word!r}: {did_you_mean(word, names, 'there are')}")
    return named
