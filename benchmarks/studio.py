"""From a slider to its picture, and to the meters, beside a full protection of the same photo in the same run.

``benchmarks.speed`` runs it as ``sliders``, with both kits on a drawn portrait of 384 pixels; the one for photographs
takes the recognisers at hand. Medians of wall clock.
"""

import statistics
import time
from collections.abc import Callable

from amtgan_lib.demos import session
from amtgan_lib.demos.session import Kit, Settings, Studio
from amtgan_lib.demos.widgets.parts import BeforeAfter
from amtgan_lib.protection import Protector

REPEATS = 9


def taken(work: Callable[[int], object], repeats: int = REPEATS) -> float:
    """Median seconds of ``work(0)``, ``work(1)``, ..."""
    seconds = []
    for number in range(repeats):
        began = time.perf_counter()
        work(number)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def measure(kit: Kit) -> dict[str, float]:
    """Seconds of each step with a kit, on a drawn portrait of 384 pixels."""
    sample = session.people()[0]
    opened, both = Studio(sample.large(), kit, sample.known()), BeforeAfter()
    styles = [opened.reference(makeup.small) for makeup in session.makeups()[:3]]

    def slid(settings: Settings, first: int = 0, second: int = 1) -> None:
        both.show(opened.clean, opened.picture(settings, styles[first], styles[second]))

    whole = taken(lambda _: Protector(kit.method).protect(sample.large(), styles[0]), repeats=3)
    slid(Settings())
    cold = taken(lambda _: slid(Settings(mix=0.5), second=2), repeats=1)
    slid(Settings(mix=0.5))
    shown = opened.picture(Settings(mix=0.5), *styles[:2])
    opened.judge(shown)
    return {
        "full protection": whole,
        "slider to picture": taken(lambda i: slid(Settings(strength=i / 10, shape=i / 10))),
        "mix slider to picture": taken(lambda i: slid(Settings(mix=(i + 1) / 20))),
        "mix with a makeup not tried yet": cold,
        "meters": taken(lambda _: opened.judge(shown)),
        "report card": taken(lambda _: list(opened.report(shown)), repeats=3),
    }
