"""One page about a run, to open in any browser: what ran and what failed, tables, figures, links to the notebooks.

Everything is read from the run's folder, so a run that failed or was interrupted has a page, too. The page holds no
script and asks nothing of a network; pictures and notebooks are links to files beside it.
"""

from __future__ import annotations

import os
import struct
from datetime import datetime
from html import escape
from pathlib import Path
from urllib.parse import quote

from amtgan_lib.pipeline import report_tables, runs
from amtgan_lib.reporting import results

NAME = "report.html"
WIDE = 2.5
"""A picture this many times as wide as high gets a line of its own."""
STATUS = {"done": "done", "failed": "failed", "interrupted": "interrupted", "running": "not finished"}
DRAWN = (
    "These numbers are about drawn faces and small recognisers of drawn faces. They show that the method and this code "
    "work, and compare methods; they say nothing about recognisers of real people."
)
CAVEAT = (
    "“Not recognised” means: by these recognisers, on these photos, at this threshold. "
    "It is no promise about any other."
)


def write(run_dir: Path | str) -> Path:
    """Write report.html into the folder of a run (or of a sweep) from what lies there, and return its path."""
    run_dir = Path(run_dir)
    state = runs.read(run_dir)
    tables = {path: report_tables.read(path) for path in sorted((run_dir / "tables").glob("*.csv"))}
    drawn = any(report_tables.is_drawn(table) for table in tables.values() if not isinstance(table, str))
    parts = {
        "failures": _failures(run_dir, state),
        "tables": _tables(tables),
        "figures": _figures(run_dir, state, drawn or state.get("preset") == "procedural"),
        "notebooks": _notebooks(run_dir, state) or _members(run_dir),
        "provenance": _provenance(state),
    }
    head = _header(run_dir, state, tables, drawn)
    links = "".join(f'<a href="#{name}">{name}</a>' for name, html in parts.items() if html)
    body = "".join(f'<section id="{name}">{html}</section>' for name, html in parts.items() if html)
    page = PAGE.format(title=escape(run_dir.name), style=STYLE, head=head, links=links, body=body, caveat=CAVEAT)
    return results.write_text(page, run_dir / NAME)


# ---------------------------------------------------------------- the parts


def _header(run_dir: Path, state: dict, tables: dict, drawn: bool) -> str:
    status = STATUS.get(state.get("status", ""), "")
    chip = f'<span class="chip {escape(state["status"])}">{status}</span>' if status else ""
    facts = {
        "commit": state.get("commit", ""),
        "date": _date(state.get("finished") or state.get("started", "")),
        "machine": state.get("machine") or _devices(tables),
        "time": _time(state),
    }
    listed = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items() if value)
    note = f'<p class="note">{report_tables.LABEL} {DRAWN}</p>' if drawn else ""
    kicker = f'<p class="kicker">AMT-GAN · {"run" if state else "sweep"} {escape(run_dir.name)}</p>'
    return f"{kicker}<h1>{escape(state.get('preset', run_dir.name))} {chip}</h1><dl>{listed}</dl>{note}"


def _date(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp):%-d %B %Y, %H:%M} UTC" if stamp else ""


def _devices(tables: dict) -> str:
    named = [table["device"].dropna() for table in tables.values() if not isinstance(table, str) and "device" in table]
    return ", ".join(dict.fromkeys(device for column in named for device in column))


def _time(state: dict) -> str:
    records = state.get("notebooks", {}).values()
    words = "1 notebook" if len(records) == 1 else f"{len(records)} notebooks"
    return f"{runs.clock(sum(record['seconds'] for record in records))} in {words}" if records else ""


def _failures(run_dir: Path, state: dict) -> str:
    """What went wrong, before anything else."""
    made = []
    for name, record in state.get("notebooks", {}).items():
        if record["status"] == "done":
            continue
        copies = runs.copies(run_dir, name)
        files = [path for path in (copies["failed"], copies["log"]) if path.is_file()]
        links = ", ".join(_link(path, run_dir) for path in files)
        why = f"<pre>{escape(record['error'])}</pre>" if record.get("error") else ""
        see = f"<p>As far as it came: {links}</p>" if links else ""
        made.append(f'<div class="problem"><h3>{escape(name)}: {escape(record["status"])}</h3>{why}{see}</div>')
    command = state.get("onward", f"--run-id {run_dir.name} --resume")
    onward = f"<p>To resume: <code>{escape(command)}</code></p>" if made else ""
    return "".join(made) + onward


def _tables(tables: dict) -> str:
    """The tables in full, the answers first, then the names of those that are too long."""
    order = sorted(tables, key=lambda path: report_tables.rank(path.stem, tables[path]))
    long = [path for path in order if report_tables.is_long(tables[path])]
    sections = "".join(report_tables.section(path, tables[path]) for path in order if path not in long)
    links = ", ".join(
        f'<a href="tables/{quote(path.name)}">{escape(path.name)}</a> ({len(tables[path])} rows)' for path in long
    )
    more = f"<p>Too long to show: {links}</p>" if long else ""
    return f"<h2>Tables</h2>{sections}{more}" if tables else ""


def _figures(run_dir: Path, state: dict, drawn: bool) -> str:
    """The registered pictures, and the other registered files, under the notebook that made them."""
    by_notebook: dict[str, list[dict]] = {}
    for output in state.get("outputs", []):
        by_notebook.setdefault((output["step"] or "other").partition("-")[0], []).append(output)
    label = f" {report_tables.LABEL}" if drawn else ""
    made = []
    for notebook, outputs in by_notebook.items():
        pictures = "".join(_figure(run_dir, output) for output in outputs if output["kind"] == "figure")
        others = [output for output in outputs if output["kind"] != "figure"]
        files = "".join(
            f"<li>{escape(other['title'])}: {_link(run_dir / other['path'], run_dir)}</li>" for other in others
        )
        listed = f"<ul>{files}</ul>" if files else ""
        made.append(f'<h3>{escape(notebook)}{label}</h3><div class="figures">{pictures}</div>{listed}')
    return f"<h2>Figures</h2>{''.join(made)}" if made else ""


def _figure(run_dir: Path, output: dict) -> str:
    path, title = run_dir / output["path"], escape(output["title"])
    if not path.is_file():
        return f'<p class="problem">{title}: {escape(output["path"])} is not there any more.</p>'
    size = _size(path)
    wide = ' class="wide"' if size and size[0] > WIDE * size[1] else ""
    shape = f' width="{size[0]}" height="{size[1]}"' if size else ""
    href = _href(path, run_dir)
    picture = f'<a href="{href}"><img src="{href}" alt="{title}" loading="lazy"{shape}></a>'
    return f"<figure{wide}>{picture}<figcaption>{title}</figcaption></figure>"


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a PNG file, from its header; None for any other file."""
    head = path.open("rb").read(24)
    return struct.unpack(">II", head[16:24]) if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 24 else None


def _notebooks(run_dir: Path, state: dict) -> str:
    """Every step of the preset in order, with its executed copy."""
    records = state.get("notebooks", {})
    names = list(dict.fromkeys([*state.get("plan", []), *records]))
    lines = []
    for name in names:
        record = records.get(name, {})
        copies = runs.copies(run_dir, name)
        copy = next((copies[kind] for kind in ("done", "failed") if copies[kind].is_file()), None)
        given = {key: value for key, value in record.get("parameters", {}).items() if key != "preset"}
        words = ", ".join(f"{key} = {value}" for key, value in given.items())
        status = record.get("status", "not run")
        took = runs.clock(record["seconds"]) if record else ""
        lines.append(
            f"<tr><th>{_link(copy, run_dir, name) if copy else escape(name)}</th>"
            f'<td><span class="chip {escape(status.replace(" ", "-"))}">{escape(status)}</span></td><td>{took}</td>'
            f'<th class="given">{escape(words)}</th></tr>'
        )
    head = (
        '<tr><th class="text">notebook, as it ran</th><th>status</th><th>time</th>'
        '<th class="text given">parameters given</th></tr>'
    )
    hint = "<p class='source'>A browser shows these files as text: open them in JupyterLab (<code>make lab</code>).</p>"
    return (
        f"<h2>Notebooks</h2><table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>{hint}" if lines else ""
    )


def _members(folder: Path) -> str:
    """The runs of a sweep, whose folders lie beside its own and begin with its name."""
    members = [member for member in sorted(folder.parent.glob(f"{folder.name}-*")) if runs.read(member)]
    lines = []
    for member in members:
        status = str(runs.read(member).get("status"))
        page = member / NAME
        name = _link(page, folder, member.name) if page.is_file() else escape(member.name)
        lines.append(f'<li>{name} <span class="chip {escape(status)}">{escape(status)}</span></li>')
    return f"<h2>Runs</h2><ul>{''.join(lines)}</ul>" if lines else ""


def _provenance(state: dict) -> str:
    if not state:
        return ""
    given = {**state.get("parameters", {}), **state.get("overrides", {})}
    packages = {name: version for name, version in state.get("versions", {}).items() if version}
    made = []
    for title, values in (("parameters of the preset, and given", given), ("versions", packages)):
        if values:
            items = ", ".join(f"{escape(str(name))} {escape(str(value))}" for name, value in values.items())
            made.append(f"<p><b>{title}</b> {items}</p>")
    files = (
        '<p><b>files</b> <a href="run.json">run.json</a> <a href="tables/">tables</a> <a href="values/">values</a></p>'
    )
    return f"<h2>Provenance</h2>{''.join(made)}{files}"


def _href(path: Path, run_dir: Path) -> str:
    return quote(os.path.relpath(path, run_dir))


def _link(path: Path, run_dir: Path, text: str = "") -> str:
    return f'<a href="{_href(path, run_dir)}">{escape(text or path.name)}</a>'


# ---------------------------------------------------------------- the page

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><header>{head}<nav>{links}</nav></header>
<main>{body}</main><footer>{caveat}</footer></body>
</html>
"""

STYLE = """
:root { --ink: #1f2328; --soft: #5f6871; --line: #dfe3e6; --accent: #0b5f8f; --bad: #a4261d; --drawn: #7a4a00 }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1180px; padding: 0 28px 60px; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif }
a { color: var(--accent); text-decoration: none } a:hover { text-decoration: underline }
header { padding: 34px 0 14px; border-bottom: 2px solid var(--ink) }
.kicker { margin: 0; color: var(--soft) }
h1 { margin: 2px 0 14px; font-size: 34px; line-height: 1.15; font-weight: 650 }
h2 { margin: 44px 0 10px; font-size: 23px; font-weight: 650 }
h3 { margin: 26px 0 6px; font-size: 16px; font-weight: 650 }
dl { display: flex; flex-wrap: wrap; gap: 8px 44px; margin: 0 0 14px }
dt { color: var(--soft); font-size: 12.5px } dd { margin: 0 }
nav a { display: inline-block; margin-right: 20px; text-transform: capitalize }
.note { max-width: 84ch; margin: 0 0 14px; color: var(--soft) }
.chip { font-size: 12.5px; font-weight: 600; padding: 1px 9px; border-radius: 9px; vertical-align: middle }
.chip { background: #e8ebed; color: var(--soft); white-space: nowrap }
.chip.done { background: #e0f0e9; color: #0b5f45 }
.chip.failed { background: #f8e1df; color: var(--bad) }
.chip.interrupted { background: #f6ecd9; color: var(--drawn) }
.label { font-size: 12px; font-weight: 600; padding: 0 7px; border-radius: 3px }
.label { background: #f6ecd9; color: var(--drawn); white-space: nowrap }
.problem { border-left: 4px solid var(--bad); background: #fcf3f2; padding: 8px 16px; margin: 14px 0 }
.problem h3 { margin: 0; color: var(--bad) }
pre { margin: 6px 0; white-space: pre-wrap; font-size: 13px }
.table { overflow-x: auto }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; margin: 10px 0 }
caption { text-align: left; color: var(--soft); padding: 6px 0; white-space: nowrap }
th, td { text-align: right; padding: 4px 0 4px 22px; vertical-align: baseline; white-space: nowrap }
tbody th { white-space: normal; max-width: 200px }
tbody th, .text { text-align: left; font-weight: 400; padding-left: 0; padding-right: 22px }
thead th { color: var(--soft); font-size: 13px; font-weight: 400; vertical-align: bottom }
tbody { border-top: 1px solid var(--ink); border-bottom: 1px solid var(--ink) }
small { display: block; color: var(--soft); font-size: 11.5px; line-height: 1.2 }
.share .number { display: inline-block; min-width: 44px }
.share small { display: inline-block; min-width: 74px; margin-left: 6px; font-size: 12px; text-align: left }
.bar { position: relative; display: inline-block; width: 54px; height: 9px; background: #eef1f3; margin-right: 6px }
.bar i { position: absolute; top: 0; bottom: 0; background: #a9cfe4 }
.bar b { position: absolute; top: -2px; bottom: -2px; width: 2px; margin-left: -1px; background: var(--accent) }
.facts, .source { color: var(--soft); font-size: 13px; margin: 2px 0 }
thead .given, tbody .given { color: var(--soft); white-space: normal; padding-left: 22px }
details { margin: 8px 0 }
summary { cursor: pointer; color: var(--soft) }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 18px }
figure { margin: 0 }
figure.wide { grid-column: 1 / -1 }
figure img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line) }
figcaption { color: var(--soft); font-size: 13px; margin-top: 4px }
footer { margin-top: 50px; padding-top: 12px; border-top: 1px solid var(--line); color: var(--soft) }
@media print { nav { display: none } .table, figure { break-inside: avoid } body { max-width: none } }
"""
