"""Tables of the studio as HTML: meters, a verdict in one line, a report card, a message."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from amtgan_lib import evaluation
from amtgan_lib.demos import session
from amtgan_lib.evaluation import COLOURS, NO_FACE, NOT_PROTECTED, PROTECTED, WEAK

UNPROVEN = "unproven"
"""Instead of "protected" where only recognisers that gave hints were asked: that they are fooled proves little."""
SIGNS = {PROTECTED: "✓", UNPROVEN: "?", WEAK: "~", NO_FACE: "✕", NOT_PROTECTED: "✕"}
SHADES = {**COLOURS, UNPROVEN: COLOURS[WEAK]}
WAYS = {
    session.AS_IT_IS: "as shown",
    "jpeg75": "JPEG, quality 75",
    "jpeg50": "JPEG, quality 50",
    "half": "half its size",
    "blur": "blurred",
    "purified": "purified: median, JPEG 75",
}


def message(text: str, kind: str = "") -> str:
    """One sentence; kind: "working", "problem" or none."""
    return f'<div class="{kind}" role="status" aria-live="polite">{escape(text)}</div>' if text else ""


def heading(number: int, text: str) -> str:
    """The heading of a step."""
    return f"<h3><b>{number}</b>{escape(text)}</h3>"


def verdict(table: pd.DataFrame, missed: bool = False) -> str:
    """In one line: how many recognisers still recognise the person, or that a face that was marked is ``missed``."""
    word = NOT_PROTECTED if missed else _proven(evaluation.worst(table["verdict"]), table)
    said = "Not protected: a face that you marked is unchanged" if missed else _in_words(table)
    return (
        f'<div class="amtgan-verdict"><span class="amtgan-sign" style="background:{SHADES[word]}">{SIGNS[word]}</span>'
        f"{escape(said)}</div>"
    )


def _proven(word: str, table: pd.DataFrame) -> str:
    """A verdict, which is no success where no recogniser of the table is held out."""
    return UNPROVEN if word == PROTECTED and not (table["role"] == session.HELD_OUT).any() else word


def _in_words(table: pd.DataFrame) -> str:
    guilty = table.loc[table["verdict"] == NOT_PROTECTED, "recogniser"].tolist()
    if (table["verdict"] == NO_FACE).any():
        return "No face is found in this picture any more"
    if not guilty:
        close = int((table["verdict"] == WEAK).sum())
        none = f"ecognised by none of {len(table)}" + (f" ({close} nearly)" if close else "")
        alone = _proven(PROTECTED, table) == UNPROVEN
        return f"Only recognisers that gave hints were asked: r{none}" if alone else f"R{none}"
    if len(guilty) == len(table):
        return f"Recognised by all {len(table)}"
    return f"Still recognised by {len(guilty)} of {len(table)}"


def meters(table: pd.DataFrame) -> str:
    """A bar a recogniser: the similarity, its thresholds, and the similarity before."""
    good = _proven(PROTECTED, table)
    return "".join(_meter(row, good) for row in table.to_dict("records"))


def visible(table: pd.DataFrame) -> str:
    """How plainly the change is seen, by two measures; columns visible (1 - SSIM) and flip."""
    flip, ssim = table["flip"].iloc[0], 1 - table["visible"].iloc[0]
    return (
        f'<div class="amtgan-visible">Visible change: <b>FLIP {flip:.3f}</b> · <b>SSIM {ssim:.3f}</b> '
        "<small>(none: 0 · 1)</small></div>"
    )


def _meter(row: dict, good: str) -> str:
    """good: what "protected" is called."""
    colour = SHADES[NOT_PROTECTED if row["verdict"] == NOT_PROTECTED else good]
    word = good if row["verdict"] == PROTECTED else row["verdict"]
    number = "none" if np.isnan(row["similarity"]) else f"{row['similarity']:.2f}"
    marks = [("amtgan-lax", row["lax"]), ("amtgan-limit", row["threshold"]), ("amtgan-before", row["before"])]
    lines = "".join(f'<span class="{name}" style="left:{_share(value)}"></span>' for name, value in marks)
    return (
        f'<div class="amtgan-meter" data-recogniser="{escape(row["recogniser"])}" data-similarity="{number}">'
        f"<span>{escape(row['recogniser'])} <small>{escape(row['role'])}</small></span>"
        f"<span><b>{number}</b> {chip(word)}</span>"
        f'<div class="amtgan-track"><span class="amtgan-fill" style="width:{_share(row["similarity"])};'
        f'background:{colour}"></span>{lines}</div></div>'
    )


def _share(cosine: float) -> str:
    return f"{100 * float(np.clip(np.nan_to_num(cosine), 0, 1)):.1f}%"


def chip(word: str) -> str:
    """A verdict as a coloured word."""
    return f'<span class="amtgan-chip {word.split()[0]}">{escape(word)}</span>'


def meaning(itself: bool, says: str) -> str:
    """What the marks of the meters mean, what recognisers compare with, and what they are worth."""
    known = "the clean photo itself" if itself else "another photo of the same person"
    raised = ", raised to where a typical other photo of the person would match" if itself else ""
    return (
        f'<div class="quiet">Bar: similarity to {known}. ◇ before. <b>│</b> threshold that 1 of 100 strangers passes'
        f"{raised}: right of it the person is recognised. ┊ a laxer one, which 1 of 10 passes: between the two "
        f"protection is weak.</div><p>{escape(says)}</p>"
    )


def report(tables: Sequence[pd.DataFrame]) -> str:
    """The report card: a line a way of publishing, a column a recogniser."""
    names = tables[0]["recogniser"].tolist()
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [_line(table) for table in tables]
    overall = _proven(evaluation.worst(word for table in tables for word in table["verdict"]), tables[0])
    return (
        f'<div class="amtgan-verdict">{chip(overall)}<span>{_overall(overall, len(names))}</span></div>'
        f'<table class="amtgan-table"><tr><th>this photo</th>{head}<th>in all</th></tr>{"".join(lines)}</table>'
        '<div class="quiet">Similarity, and in brackets its distance to the threshold (below 0: refused).</div>'
    )


def _line(table: pd.DataFrame) -> str:
    cells = "".join(
        f"<td><b>{row.similarity:.2f}</b> ({row.similarity - row.threshold:+.2f})<br>"
        f"{chip(_proven(row.verdict, table))}</td>"
        for row in table.itertuples()
    )
    overall = chip(_proven(evaluation.worst(table["verdict"]), table))
    return f"<tr><td>{WAYS[table['how'].iloc[0]]}</td>{cells}<td>{overall}</td></tr>"


def _overall(word: str, count: int) -> str:
    endings = {
        PROTECTED: f"from these {count}, whichever way it is published",
        UNPROVEN: f"refused by these {count}, whichever way it is published, but they gave hints",
        WEAK: "somewhere on this card: refused, but not by much",
        NOT_PROTECTED: "somewhere on this card: one recogniser in one row is enough",
        NO_FACE: "somewhere on this card: nobody can say",
    }
    return endings[word]
