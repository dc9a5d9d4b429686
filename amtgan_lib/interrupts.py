"""Ctrl-C, or the request to end (SIGTERM), at a moment when neither may stop what is going on at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def first_calls(react: Callable[[int], object], numbers: Iterable[int] = SIGNALS) -> Iterator[None]:
    """Let the first of these signals in the block call ``react`` with its number; a second one acts as without this.

    Other threads than the main one get no signals, so nothing changes there.
    """
    handlers = {number: signal.getsignal(number) for number in numbers}
    mine = threading.current_thread() is threading.main_thread()
    before = {number: handler for number, handler in handlers.items() if mine and handler is not None}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(number: int, _: object) -> None:
        restore()
        react(number)

    for number in before:
        signal.signal(number, first)
    try:
        yield
    finally:
        restore()


@contextmanager
def held_back() -> Iterator[None]:
    """Let a signal come through at the end of the block, unless that fails anyway; a second one comes at once.

    A program that ignores Ctrl-C goes on ignoring it, and one that SIGTERM ends still is ended, at once.
    """
    held: list[int] = []
    with first_calls(held.append, [number for number in SIGNALS if callable(signal.getsignal(number))]):
        yield
    for number in held:
        signal.raise_signal(number)
