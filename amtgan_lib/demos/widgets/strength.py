"""The trade-off: how much is seen against who is fooled, with a slider for each part of the change."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ipywidgets as W
import pandas as pd

from amtgan_lib.demos.session import Settings
from amtgan_lib.demos.widgets import parts, texts
from amtgan_lib.demos.widgets.style import SHEET
from amtgan_lib.demos.widgets.workbench import STALE, Begin, Workbench
from amtgan_lib.models.rendering import PARTS
from amtgan_lib.reporting import figures

STRENGTHS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0)  # of the curve
SLIDERS = {
    "strength": "The whole look; 0 gives the original photo.",
    "shape": "Moves features a little; shape and light protect a bare face most.",
    "light": "Softens or deepens the shading of the skin; shape and light protect a bare face most.",
    "contour": "Adds shading to cheeks, nose, chin and forehead.",
    "blush": "Colour on the cheeks; only with a makeup.",
    "brows": "Darker or lighter brows.",
    "lips": "Lip colour; only with a makeup.",
    "lids": "Eye shadow; only with a makeup.",
    "liner": "Lines along the lashes; only with a makeup.",
    "mix": "From the first makeup (0 %) to the second (100 %).",
}


class MakeupStrength(Workbench):
    """The widget of ``demo_makeup_strength``."""

    makeup_shelves = (("makeup", "Makeup"), ("second", "Makeup to mix in"))

    def __init__(self, begin: Begin | None = None):
        self.sliders = {name: self._slider(name, about) for name, about in SLIDERS.items()}
        # Hidden until there is one: browsers show an empty picture as a broken one.
        self.curve = W.Image(format="png", layout={"display": "none"}).add_class("amtgan-curve")
        self.card = W.HTML().add_class("amtgan-report")
        self._curve: tuple[Any, pd.DataFrame] | None = None
        super().__init__(begin)

    def _slider(self, name: str, about: str) -> W.FloatSlider:
        look = {"description": name, "tooltip": about, "style": {"description_width": "76px"}}
        slider = W.FloatSlider(getattr(Settings(), name), min=0, max=1, step=0.01, readout_format=".0%", **look)
        slider.add_class("amtgan-slider").add_class(f"amtgan-{name}")
        slider.observe(lambda _: self._moved(), "value")
        return slider

    def _moved(self) -> None:
        if self.settings != self.shown:
            self.pace.ask()

    @property
    def settings(self) -> Settings:
        """Where the sliders stand; a browser says 0.9999999999999999 for 1."""
        return Settings(**{name: round(slider.value, 3) for name, slider in self.sliders.items()})

    def later(self) -> Iterator[None]:
        """The curve, where more than the overall strength has changed; the point on it; the report card."""
        worn = self.studio.faces[0].worn(*self.chosen, self.settings.mix).look.worn()
        for part in PARTS:
            self.sliders[part].disabled = part not in worn
        others = (self.studio, *self.chosen, replace(self.settings, strength=1.0))
        self.card.add_class(STALE)
        if self._curve is None or self._curve[0] != others:
            self.curve.add_class(STALE)
            tables = []
            for table in self.studio.curve(self.settings, *self.chosen, STRENGTHS):
                tables.append(table)
                yield
            self._curve = others, pd.concat(tables, ignore_index=True)
        self.curve.value, self.curve.layout.display = self._drawn(), ""
        self.curve.remove_class(STALE)
        yield
        tables = []
        for table in self.studio.report(self.picture):
            tables.append(table)
            yield
        self.card.value = texts.report(tables)
        self.card.remove_class(STALE)
        yield
        # Else the first move of `mix` would wait for all that is slow about the other makeup.
        for style in self.chosen:
            self.studio.faces[0].worn(style)
            yield

    def figure(self):
        """The curve with the point of the picture that is shown on it."""
        return figures.strength_curve(self._curve[1], self.table)

    def _drawn(self) -> bytes:
        file = io.BytesIO()
        self.figure().savefig(file, format="png", dpi=144)
        return file.getvalue()

    def layout(self) -> W.Widget:
        """What to choose above; picture and sliders; who recognises it; the curve; the report card."""
        sliders = parts.card(W.HTML(texts.heading(4, "How much of what")), *self.sliders.values())
        beside = parts.columns(self.before_after, sliders, self.asked)
        curve = parts.card(W.HTML("<h3>Protection against visible change, for this photo</h3>"), self.curve)
        report = parts.card(W.HTML("<h3>Report card of this photo</h3>"), self.card)
        return W.VBox([W.HTML(SHEET), self.choice, beside, curve, report])
