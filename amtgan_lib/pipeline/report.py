"""One page about a run, to open in any browser: what ran and what failed, tables, figures, links to the notebooks.

Everything is read from the run's folder, so a run that failed or was interrupted has a page, too. The page,
report.html.jinja, holds no script and needs no network; pictures and notebooks are links to files beside it.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from amtgan_lib.pipeline import report_tables, runs
from amtgan_lib.reporting import results

NAME = "report.html"


def write(run_dir: Path | str) -> Path:
    """Write report.html into the folder of a run (or of a sweep) from what lies there, and return its path."""
    from jinja2 import Environment, FileSystemLoader

    run_dir = Path(run_dir)
    state = runs.read(run_dir)
    tables = [(path, report_tables.read(path)) for path in sorted((run_dir / "tables").glob("*.csv"))]
    layout = {"trim_blocks": True, "lstrip_blocks": True}
    pages = Environment(autoescape=True, loader=FileSystemLoader(Path(__file__).parent), **layout)
    pages.filters |= {"clock": runs.clock, "href": lambda path: quote(os.path.relpath(path, run_dir))}
    page = pages.get_template(f"{NAME}.jinja").render(
        folder=run_dir,
        state=state,
        facts=_facts(state, tables),
        steps=_steps(run_dir, state),
        files=sorted(tables, key=lambda file: report_tables.rank(file[0].stem, file[1])),
        made=report_tables,
        drawn=any(report_tables.is_drawn(table) for _, table in tables),
        outputs=_outputs(run_dir, state),
        # The runs of a sweep, whose folders lie beside its own and begin with its name.
        members={
            member / NAME: str(known.get("status"))
            for member in sorted(run_dir.parent.glob(f"{run_dir.name}-*"))
            if (known := runs.read(member))
        },
        given={
            "parameters of the preset, and given": {**state.get("parameters", {}), **state.get("overrides", {})},
            "versions": {name: version for name, version in state.get("versions", {}).items() if version},
        },
    )
    return results.write_text(page.strip(), run_dir / NAME)


def _facts(state: dict, tables: list[tuple[Path, pd.DataFrame | str]]) -> dict[str, str]:
    """What the head of the page says; "" for what is not known."""
    stamp, records = state.get("finished") or state.get("started", ""), state.get("notebooks", {}).values()
    devices = [table["device"].dropna() for _, table in tables if isinstance(table, pd.DataFrame) and "device" in table]
    words = "1 notebook" if len(records) == 1 else f"{len(records)} notebooks"
    return {
        "commit": state.get("commit", ""),
        "date": f"{datetime.fromisoformat(stamp):%-d %B %Y, %H:%M} UTC" if stamp else "",
        "machine": state.get("machine") or ", ".join(dict.fromkeys(name for column in devices for name in column)),
        "time": f"{runs.clock(sum(record['seconds'] for record in records))} in {words}" if records else "",
    }


def _steps(run_dir: Path, state: dict) -> list[dict]:
    """Every step of the preset in order: its record, its executed copy if there is one, what it left if it failed."""
    records, steps = state.get("notebooks", {}), []
    for name in dict.fromkeys([*state.get("plan", []), *records]):
        copies = {kind: path for kind, path in runs.copies(run_dir, name).items() if path.is_file()}
        own = {"file": copies.get("done") or copies.get("failed"), "status": "not run", "parameters": {}}
        left = [copies[kind] for kind in ("failed", "log") if kind in copies]
        steps.append({"name": name, "left": left, **own, **records.get(name, {})})
    return steps


def _outputs(run_dir: Path, state: dict) -> dict[str, list[dict]]:
    """The registered files under the notebook that made them; pictures with their size."""
    outputs = defaultdict(list)
    for output in state.get("outputs", []):
        file = run_dir / output["path"]
        own = {"file": file, "size": _size(file) if file.is_file() else None}
        outputs[(output["step"] or "other").partition("-")[0]].append({**output, **own})
    return outputs


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a PNG file, from its header; None for any other file."""
    head = path.open("rb").read(24)
    return struct.unpack(">II", head[16:24]) if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 24 else None
