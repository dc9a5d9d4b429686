"""Many events, one piece of work: only the newest state is worked on, in steps, so that the notebook stays awake."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

PAUSE = 0.015  # seconds between steps, in which the kernel hears of newer events


class Newest:
    """Runs ``steps()`` for the newest state: asked again while it runs, it begins anew and leaves the rest undone.

    Steps should end where something can be shown: first the picture, then the meters, then what may wait. Inside a
    notebook they run between the kernel's messages; where no event loop runs (a script, a test) all run at once.
    Each step is one thread's: JupyterLab may have cells run in one thread of the kernel and widgets in another.
    """

    def __init__(self, steps: Callable[[], Iterator[None]]):
        self._make, self._steps = steps, iter(())
        self._scheduled, self._lock = False, threading.RLock()

    def ask(self) -> None:
        """Something has changed."""
        self._steps = self._make()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.finish()
        else:
            self._schedule(loop)

    def finish(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Do all that is left, now; or until ``enough()``, and the rest between the kernel's messages."""
        while not enough() and self._step():
            pass

    def _step(self) -> bool:
        """Do one step; whether there was one."""
        with self._lock:
            return next(self._steps, self) is not self

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop.call_later(PAUSE, self._go, loop)

    def _go(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        if self._step():
            self._schedule(loop)
