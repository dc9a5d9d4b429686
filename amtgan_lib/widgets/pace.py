"""Many events, one piece of work: only the newest state is worked on, in steps, so that the notebook stays awake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

PAUSE = 0.015  # seconds between steps, in which the kernel hears of newer events


class Newest:
    """Runs ``steps()`` for the newest state: asked again while it runs, it begins anew and leaves the rest undone.

    Steps should end where something can be shown: first the picture, then the meters, then what may wait. Inside a
    notebook they run between the kernel's messages; where no event loop runs (a script, a test) all run at once.
    """

    def __init__(self, steps: Callable[[], Iterator[None]]):
        self._make, self._steps = steps, iter(())
        self._scheduled = False

    def ask(self) -> None:
        """Something has changed."""
        self._steps = self._make()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.finish()
        else:
            self._schedule(loop)

    def finish(self) -> None:
        """Do all that is left, now."""
        while next(self._steps, self) is not self:
            pass

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop.call_later(PAUSE, self._go, loop)

    def _go(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        if next(self._steps, self) is not self:
            self._schedule(loop)
