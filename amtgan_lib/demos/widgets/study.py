"""Which of two pictures was protected? One click a pair."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets as W

from amtgan_lib.demos.session.study import SIDES, Pair, Study
from amtgan_lib.demos.widgets import parts
from amtgan_lib.demos.widgets.style import SHEET


class WhichIsProtected(parts.Shown):
    """The widget of ``demo_which_is_protected``: answers are stored in ``file`` after each click.

    clock: seconds since any moment, to time the answers.
    """

    def __init__(self, pairs: Sequence[Pair], file: Path, seed: int = 0, clock: Callable[[], float] = time.monotonic):
        self.study, self.file, self.clock = Study(pairs, seed), file, clock
        self.pictures = {side: W.Image(format="png").add_class("amtgan-picture") for side in SIDES}
        self.buttons = {side: W.Button(description="This one") for side in SIDES}
        for side, button in self.buttons.items():
            button.add_class("amtgan-save").add_class(f"amtgan-{side}").on_click(lambda _, side=side: self.say(side))
        self.question = W.HTML()
        cards = [parts.card(self.pictures[side], self.buttons[side]) for side in SIDES]
        asked = parts.card(self.question)
        both = W.Box([card.add_class("amtgan-wide") for card in cards]).add_class("amtgan-columns")
        self.view = W.VBox([W.HTML(SHEET), asked, both]).add_class("amtgan")
        self._ask()

    def say(self, side: str) -> None:
        """Somebody clicked below the picture on that side."""
        self.study.answer(side, self.clock() - self.asked_at)
        self.study.save(self.file)
        self._ask()

    def _ask(self) -> None:
        done, count = len(self.study.answers), len(self.study.pairs)
        if self.study.done:
            rate, low, high = self.study.rate()
            self.question.value = (
                f"<h3>{rate:.0%} of {count} right (95 % interval {low:.0%} to {high:.0%})</h3>"
                "Guessing gives 50 %. Your answers are stored. Thank you."
            )
            for button in self.buttons.values():
                button.disabled = True
            return
        self.question.value = f"<h3>Which of the two was protected? Pair {done + 1} of {count}</h3>"
        for side, picture in zip(SIDES, self.study.shown(), strict=True):
            self.pictures[side].value = parts.png(picture)
        self.asked_at = self.clock()
