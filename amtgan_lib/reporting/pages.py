"""README.md, docs/ and results/figures as build products: their generated parts are made from the stored rows.

A block stands between ``<!-- NAME:start -->`` and ``<!-- NAME:end -->``. A single number in a sentence stands between
``<!-- = TABLE; METHOD; METRIC -->`` and ``<!-- / -->``. A figure carries the hash of the rows that it was drawn from.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from amtgan_lib import paths
from amtgan_lib.files import sha256_of
from amtgan_lib.reporting import blocks, results
from amtgan_lib.reporting.stored import judges, stored, value

BLOCK = re.compile(r"(?P<start><!-- (?P<name>[\w-]+):start -->).*?(?P<end><!-- (?P=name):end -->)", re.S)
VALUE = re.compile(r"(?P<start><!-- = (?P<names>[^>]+?) -->).*?(?P<end><!-- / -->)", re.S)
ROWS = "Rows"
"""The text chunk of a figure with the sha256 of its rows."""

Makers = Mapping[str, Callable[[], str]]


@dataclass(frozen=True)
class Part:
    """A generated file: ``stale`` says whether it differs from the stored rows, ``make`` writes it."""

    path: Path
    stale: Callable[[], bool]
    make: Callable[[], object]

    @property
    def name(self) -> str:
        """The file's name, by which a part is chosen."""
        return self.path.name


def rendered(text: str, makers: Makers) -> str:
    """A page with its blocks and values generated; ``makers`` has the blocks that `blocks.block` does not know."""
    text = BLOCK.sub(lambda match: f"{match['start']}\n{_block(match['name'], makers)}\n{match['end']}", text)
    return VALUE.sub(
        lambda match: match["start"] + value(*map(str.strip, match["names"].split(";"))) + match["end"], text
    )


def _block(name: str, makers: Makers) -> str:
    return (makers[name]() if name in makers else blocks.block(name)).strip()


def page(path: Path, makers: Makers = MappingProxyType({})) -> Part:
    """A page as a part; ``makers`` as in :func:`rendered`."""

    def wanted() -> str:
        return rendered(path.read_text(encoding="utf-8"), makers)

    return Part(
        path,
        stale=lambda: path.read_text(encoding="utf-8") != wanted(),
        make=lambda: results.write_text(wanted(), path),
    )


# ---------------------------------------------------------------- figures

# File -> the stored table, and the function of `reporting.figures` that draws it. The other pictures of results/figures
# are drawn or photographed from models at work: benchmarks/contact_sheet.py, notebook 06 and notebook 00.
FIGURES = {
    "procedural_trade_off.png": ("procedural", "trade_off"),
    "open-small_success.png": ("open-small", "success_bars"),
    "any-target_trade_off.png": ("any-target", "trade_off"),
}


def _draw(path: Path) -> None:
    from amtgan_lib.reporting import figures  # seconds, with matplotlib

    name, kind = FIGURES[path.name]
    table = stored(name)
    held, pictures = judges(table), table[table["recogniser"] == ""]
    title = f"{table['preset'].iloc[0]}: {table['dataset'].iloc[0]}"
    if kind == "trade_off":
        held_out = table[table["recogniser"].isin(held)]
        figure = figures.trade_off(held_out, pictures, f"{title}, held out {', '.join(held)}")
    else:
        figure = figures.success_bars(table[table["recogniser"] != ""], title=title)
    figures.save(figure, path, **{ROWS: sha256_of(paths.MEASURED / f"{name}.csv")})


def _stale_figure(path: Path) -> bool:
    from PIL import Image

    if not path.exists():
        return True
    with Image.open(path) as picture:
        return picture.info.get(ROWS) != sha256_of(paths.MEASURED / f"{FIGURES[path.name][0]}.csv")


def parts(makers: Makers) -> list[Part]:
    """Every page and figure of the checkout that is made from stored rows; raises FileNotFoundError outside one."""
    if not paths.IN_CHECKOUT:
        raise FileNotFoundError("README.md and docs/ are only in a checkout: run this there")
    files = [paths.ROOT / "README.md", *sorted(paths.DOCS.glob("*.md"))]
    figures = [paths.FIGURES / name for name in FIGURES]
    drawn = [Part(path, functools.partial(_stale_figure, path), functools.partial(_draw, path)) for path in figures]
    return [page(path, makers) for path in files] + drawn
