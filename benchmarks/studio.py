"""From a slider to its picture, and to the meters, beside a full protection of the same photo in the same run.

Run it from the checkout: ``.venv/bin/python -m benchmarks.studio``. Both kits change a drawn portrait of
384 pixels; the one for photographs takes the recognisers at hand. Medians of wall clock and of the process's own time;
other work on the machine counts in the first only.
"""

import statistics
import time
from collections.abc import Callable

from amtgan_lib.demos import session
from amtgan_lib.demos.session import Kit, Settings, Studio
from amtgan_lib.demos.widgets.parts import BeforeAfter
from amtgan_lib.protection import Protector

REPEATS = 9


def milliseconds(work: Callable[[int], object], repeats: int = REPEATS) -> tuple[float, float]:
    """Medians of wall clock and own time of ``work(0)``, ``work(1)``, ... in milliseconds."""
    walls, own = [], []
    for number in range(repeats):
        wall, mine = time.perf_counter(), time.process_time()
        work(number)
        walls.append(1000 * (time.perf_counter() - wall))
        own.append(1000 * (time.process_time() - mine))
    return statistics.median(walls), statistics.median(own)


def measure(kit: Kit) -> dict[str, tuple[float, float]]:
    """Milliseconds, wall and own, of each step with a kit, on a drawn portrait of 384 pixels."""
    sample = session.people()[0]
    opened, both = Studio(sample.large(), kit, sample.known()), BeforeAfter()
    styles = [opened.reference(makeup.small) for makeup in session.makeups()[:3]]

    def slid(settings: Settings, first: int = 0, second: int = 1) -> None:
        both.show(opened.clean, opened.picture(settings, styles[first], styles[second]))

    whole = milliseconds(lambda _: Protector(kit.method).protect(sample.large(), styles[0]), repeats=3)
    slid(Settings())
    cold = milliseconds(lambda _: slid(Settings(mix=0.5), second=2), repeats=1)
    slid(Settings(mix=0.5))
    shown = opened.picture(Settings(mix=0.5), *styles[:2])
    opened.judge(shown)
    return {
        "full protection": whole,
        "slider to picture": milliseconds(lambda i: slid(Settings(strength=i / 10, shape=i / 10))),
        "mix slider to picture": milliseconds(lambda i: slid(Settings(mix=(i + 1) / 20))),
        "mix with a makeup not tried yet": cold,
        "meters": milliseconds(lambda _: opened.judge(shown)),
        "report card": milliseconds(lambda _: list(opened.report(shown)), repeats=3),
    }


def main() -> None:
    """Print one line a step for both kits."""
    for name, kit in (("drawn", session.drawn_kit()), ("photo", session.photo_kit())):
        steps = measure(kit)
        for step, (wall, own) in steps.items():
            share = own / steps["full protection"][1]
            print(f"{name:<8}{step:<32}{wall:8.0f} ms wall{own:8.0f} ms own   {share:6.2f} of a full protection")


if __name__ == "__main__":
    main()
