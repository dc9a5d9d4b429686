"""The generated parts of README.md: what there is, how far it hides people, and beside the paper."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pandas as pd

from amtgan_lib import paths, recognizers
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import RATES
from amtgan_lib.reporting.stored import judges, stored, value

# What the table of the README shows: stored table -> the faces in words, and the methods in their order.
OVERVIEW = {
    "procedural": ("drawn faces", ("clean", "mi_fgsm", "published", "corrected", "residual")),
    "open-small": ("photographs", ("clean", "published", "corrected", "residual")),
    "any-target": ("photographs", ("mi_fgsm", "any_target", "any_target_nobody_bare")),
    "natural": ("photographs", ("clean", "natural")),
    "natural-quick": ("photographs", ("natural_quick",)),
    "natural-stronger": ("photographs", ("natural_stronger",)),
    "natural-known": ("photographs", ("natural_known",)),
    "natural-stronger-known": ("photographs", ("natural_stronger_known",)),
    "natural-makeup": ("photographs", ("natural_makeup",)),
    "natural-person": ("photographs", ("natural_person",)),
    "natural-london": ("photographs, two of one day", ("natural", "natural_known")),
}


def overview() -> str:
    """The table of the README: a line a method, the range of its held-out recognisers in per cent."""
    lines, last = [], ""
    for name, (kind, methods) in OVERVIEW.items():
        table = stored(name)
        families = dict.fromkeys(recognizers.spec(judge).family for judge in judges(table))
        test = f"{table['n'].max()} {kind}, {' and '.join(families)}"
        for method in methods:
            measured = {rate: value(name, method, rate) for rate in list(RATES)[:3]}
            # Rows that were stored before it was measured have no flip.
            has = set(table.loc[table["method"] == method, "metric"])
            seen = {each.upper(): value(name, method, each) if each in has else "" for each in ("ssim", "flip")}
            lines.append({"test, judges": "" if test == last else test, "method": f"`{method}`", **measured, **seen})
            last = test
    return results.markdown(pd.DataFrame(lines))


def beside_paper() -> str:
    """Impersonation at FAR 0.01, as a later paper printed it for AMT-GAN, and as measured on photographs here."""
    printed = results.published(["impersonation"], "CelebA-HQ 1000")
    lines = [_beside("AMT-GAN, as a later paper prints it", printed[printed["method"] == "AMT-GAN"])]
    table = stored("open-small")
    held_out = table[table["recogniser"].isin(judges(table)) & (table["metric"] == "impersonation")]
    for method in ("residual", "corrected", "published"):
        lines.append(_beside(f"`{method}`, measured here", held_out[held_out["method"] == method]))
    return results.markdown(pd.DataFrame(lines))


def _beside(who: str, rows: pd.DataFrame) -> dict[str, str]:
    return {
        "": who,
        "photos": str(rows["n"].iloc[0]),
        "held-out recognisers": ", ".join(rows["recogniser"]),
        "accepted as the target, %": " / ".join(f"{100 * number:.1f}" for number in rows["value"]),
    }


def notebooks() -> str:
    """A line a notebook: title, what it shows, and the stored minutes of a run, empty where none is stored."""
    files = sorted(file for file in paths.NOTEBOOKS.glob("*.ipynb") if file.stem != "index")
    lines = []
    for file in files:
        title, shows = _introduced(json.loads(file.read_text(encoding="utf-8"))["cells"][0]["source"])
        link = f"[{title}](notebooks/{file.name})"
        lines.append({"notebook": link, "what it shows": shows, "minutes": _minutes(file.stem)})
    if whole := _minutes("all"):
        lines.append({"notebook": "all of `make reproduce`", "what it shows": "", "minutes": whole})
    return results.markdown(pd.DataFrame(lines))


def _introduced(source: str | Sequence[str]) -> tuple[str, str]:
    """Title and subject of a notebook: its first heading, and the first clause that says what it shows."""
    text = "".join(source)
    title = re.search(r"^# (.+)$", text, re.M)[1].strip()
    rest = re.sub(r"\s+", " ", text.partition(title)[2]).strip(" -*")
    labelled = re.search(r"\*{0,2}\b(?:Shows|Reproduces|Answers)\b\*{0,2}:? (.+)", rest)
    clause = re.split(r"[.;:?,]\s|\s\(", labelled[1] if labelled else rest, maxsplit=1)[0]
    return title, clause.rstrip(". ")


def _minutes(step: str) -> str:
    """Minutes of a notebook in a stored run, of the default preset and with native bfloat16 first; "" without one."""
    table = stored("speed")
    table = table[table["dataset"].str.startswith("run, ") & (table["metric"] == "seconds")]
    table = table[(table["method"] == step) | table["method"].str.startswith(f"{step}-")]
    if table.empty:
        return ""
    first = min(table["dataset"], key=lambda name: (name != "run, procedural", name))
    rows = table[table["dataset"] == first]
    device = min(rows["device"], key=lambda name: ("bfloat16" not in name, name))
    seconds = rows.loc[rows["device"] == device, "value"].sum()
    return f"{max(seconds / 60, 0.1):.1f}"
