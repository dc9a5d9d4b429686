"""Tables of the studio as HTML: meters, a verdict in one line, a report card, a message."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from amtgan_lib import evaluation
from amtgan_lib.demos import session
from amtgan_lib.evaluation import COLOURS, NO_FACE, NOT_PROTECTED, PROTECTED, WEAK

SIGNS = {PROTECTED: "✓", WEAK: "~", NO_FACE: "✕", NOT_PROTECTED: "✕"}
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


def verdict(table: pd.DataFrame) -> str:
    """In one line: how many recognisers still recognise the person."""
    word = evaluation.worst(table["verdict"])
    return (
        f'<div class="amtgan-verdict"><span class="amtgan-sign" style="background:{COLOURS[word]}">{SIGNS[word]}</span>'
        f"{escape(_in_words(table))}</div>"
    )


def _in_words(table: pd.DataFrame) -> str:
    guilty = table.loc[table["verdict"] == NOT_PROTECTED, "recogniser"].tolist()
    if (table["verdict"] == NO_FACE).any():
        return "No face is found in this picture any more"
    if not guilty:
        close = int((table["verdict"] == WEAK).sum())
        return f"Recognised by none of {len(table)}" + (f" ({close} nearly)" if close else "")
    if len(guilty) == len(table):
        return f"Recognised by all {len(table)}"
    return f"Still recognised by {len(guilty)} of {len(table)}"


def meters(table: pd.DataFrame) -> str:
    """A bar a recogniser: the similarity, its thresholds, and the similarity before."""
    return "".join(_meter(row) for row in table.to_dict("records"))


def _meter(row: dict) -> str:
    colour = COLOURS[NOT_PROTECTED if row["verdict"] == NOT_PROTECTED else PROTECTED]
    number = "none" if np.isnan(row["similarity"]) else f"{row['similarity']:.2f}"
    marks = [("amtgan-lax", row["lax"]), ("amtgan-limit", row["threshold"]), ("amtgan-before", row["before"])]
    lines = "".join(f'<span class="{name}" style="left:{_share(value)}"></span>' for name, value in marks)
    return (
        f'<div class="amtgan-meter" data-recogniser="{escape(row["recogniser"])}" data-similarity="{number}">'
        f"<span>{escape(row['recogniser'])} <small>{escape(row['role'])}</small></span>"
        f"<span><b>{number}</b> {chip(row['verdict'])}</span>"
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
    known = "the clean photo itself (the hardest test)" if itself else "another photo of the same person"
    return (
        f'<div class="quiet">Bar: similarity to {known}. ◇ before. <b>│</b> threshold that 1 of 100 strangers passes: '
        "right of it the person is recognised. ┊ a laxer one, which 1 of 10 passes: between the two protection is weak."
        f"</div><p>{escape(says)}</p>"
    )


def report(tables: Sequence[pd.DataFrame]) -> str:
    """The report card: a line a way of publishing, a column a recogniser."""
    names = tables[0]["recogniser"].tolist()
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [_line(table) for table in tables]
    overall = evaluation.worst(word for table in tables for word in table["verdict"])
    return (
        f'<div class="amtgan-verdict">{chip(overall)}<span>{_overall(overall, len(names))}</span></div>'
        f'<table class="amtgan-table"><tr><th>this photo</th>{head}<th>in all</th></tr>{"".join(lines)}</table>'
        '<div class="quiet">Similarity, and in brackets its distance to the threshold (below 0: refused).</div>'
    )


def _line(table: pd.DataFrame) -> str:
    cells = "".join(
        f"<td><b>{row.similarity:.2f}</b> ({row.similarity - row.threshold:+.2f})<br>{chip(row.verdict)}</td>"
        for row in table.itertuples()
    )
    return f"<tr><td>{WAYS[table['how'].iloc[0]]}</td>{cells}<td>{chip(evaluation.worst(table['verdict']))}</td></tr>"


def _overall(word: str, count: int) -> str:
    endings = {
        "protected": f"from these {count}, whichever way it is published",
        WEAK: "somewhere on this card: refused, but not by much",
        NOT_PROTECTED: "somewhere on this card: one way, one recogniser is enough",
        NO_FACE: "somewhere on this card: nobody can say",
    }
    return endings[word]
