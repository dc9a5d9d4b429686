"""Ctrl-C, or the request to end (SIGTERM), while networks change."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """Let an interrupt come through at the end of the block, unless that fails anyway; a second one comes at once.

    Other threads than the main one cannot be interrupted. A program that ignores Ctrl-C goes on ignoring it, and one
    that is ended by SIGTERM still is.
    """
    before = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    if threading.current_thread() is not threading.main_thread() or not before:
        yield
        return
    held: list[int] = []

    def hold(number: int, _: object) -> None:
        held.append(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, hold)
    try:
        yield
    finally:
        restore()
    for number in held:
        signal.raise_signal(number)
