"""How figures look: colours that are safe for colour-blind readers, one meaning each, and matplotlib's settings."""

from __future__ import annotations

import functools
from collections.abc import Callable

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

# One colour a method, the same in every figure. After Okabe & Ito, Tol and IBM; those that stand side by side were
# chosen to stay apart for readers without one of the three kinds of cones, too (tests/test_figures.py measures it).
COLOURS = {
    "clean": "#B0B0B0",
    "published": "#E69F00",
    "corrected": "#56B4E9",
    "residual": "#009E73",
    "pgd": "#000000",
    "mi_fgsm": "#994F00",
    "ti_dim": "#785EF0",
    "tip_im": "#330099",
    "adv_makeup": "#440055",
    "makeup_only": "#AA4499",
    "any_target": "#332288",
    "any_target_bare": "#648FFF",
    "any_target_nobody": "#661100",
    "any_target_nobody_bare": "#D41159",
    "genuine": "#0072B2",
    "impostor": "#D55E00",
}
OTHER_COLOUR = "#6F6F6F"
KINDS = ("impostor", "genuine")
# Of lines that are no method, such as recognisers: Okabe & Ito's again, each with a marker of its own.
LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_MARKERS = "osD^vPX"
HATCH = "///"  # a recogniser that took part in training
MARKERS = dict(zip(COLOURS, "osD^vPX*<>hpd8"))
"""A shape besides the colour, where methods are points."""
STYLE = {
    "font.size": 8,
    "axes.titlesize": 9,
    "figure.titlesize": 10,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
}


def in_style(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Let a function draw in STYLE, and leave matplotlib's settings as they were."""

    @functools.wraps(draw)
    def styled(*positional: object, **named: object) -> Figure:
        before = {name: plt.rcParams[name] for name in STYLE}
        plt.rcParams.update(STYLE)
        try:
            return draw(*positional, **named)
        finally:  # not plt.rc_context: it would also undo that a notebook shows figures, which the first one sets
            plt.rcParams.update(before)

    return styled
