"""One minute to a protected portrait: a photo, a makeup, before and after, and who still recognises the person."""

from __future__ import annotations

import ipywidgets as W

from amtgan_lib.demos.session import Settings
from amtgan_lib.demos.widgets import parts
from amtgan_lib.demos.widgets.style import SHEET
from amtgan_lib.demos.widgets.workbench import Begin, Workbench


class Quickstart(Workbench):
    """The widget of ``00_quickstart``; ``strength`` scales the whole change, from 0 to 1."""

    def __init__(self, begin: Begin | None = None, strength: float = 1.0):
        self._strength = strength
        super().__init__(begin)

    @property
    def settings(self) -> Settings:
        """As ``protect`` does it, at this strength."""
        return Settings(strength=self._strength)

    def layout(self) -> W.Widget:
        """What to choose above; below the picture, beside it who recognises it; last, faces that nobody found."""
        beside = parts.columns(self.before_after, self.asked)
        return W.VBox([W.HTML(SHEET), self.choice, beside, self.marking.box])
