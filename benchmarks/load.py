"""Many photos through the folder command: `python -m benchmarks.load --photos 1000`.

Drawn people, one bad file in fifty. It prints photos a minute and the process's memory for each quarter of the run,
whether every bad file was reported, and what two runs at once on one folder leave. Words after `--` go to `protect`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from amtgan_lib import images, portraits

SIDE, EVERY = 160, 50  # pixels of a photo; one bad file in so many
PEOPLE = 20  # drawn once; their pictures are used again


def fill(folder: Path, count: int) -> list[str]:
    """Write so many photos, one in EVERY cut off; the names of the bad ones."""
    ids = range(PEOPLE)
    drawn = portraits.draw(portraits.people(ids), portraits.no_makeup(PEOPLE), portraits.scenes(ids, variety=0.2), SIDE)
    people, bad = [images.to_pil(each) for each in drawn.image], []
    folder.mkdir(parents=True)
    for number in range(count):
        path = images.save(folder / f"{number:04d}.png", people[number % PEOPLE])
        if number % EVERY == EVERY - 1:
            path.write_bytes(path.read_bytes()[:2000])
            bad.append(path.name)
    return bad


def command(folder: Path, words: Sequence[str]) -> list[str]:
    """The folder command, which writes beside the folder and keeps what is there."""
    call = [sys.executable, "-m", "amtgan_lib", "protect", str(folder), "-o", str(folder.with_name("out"))]
    return [*call, "--skip-existing", "--keep-recognised", "--json", *words]


def watched(call: Sequence[str], out: Path) -> tuple[dict, list[tuple[float, int, float]]]:
    """Run it: its report, and every half second the time, the number of outputs, and its memory in MiB."""
    begun, seen = time.monotonic(), []
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(call, stdout=told, stderr=subprocess.DEVNULL) as process,
    ):
        while process.poll() is None:
            time.sleep(0.5)
            try:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            except (OSError, IndexError):  # it has just ended
                break
            done = len(list(out.glob("[!.]*"))) if out.is_dir() else 0
            seen.append((time.monotonic() - begun, done, pages * 4096 / 2**20))
        process.wait()
        told.seek(0)
        return json.loads(told.read()), seen


def quarters(seen: Sequence[tuple[float, int, float]]) -> list[tuple[float, float]]:
    """Photos a minute and the most memory in each quarter of the photos."""
    working = [each for each in seen if each[1]]
    parts = [part for part in np.array_split(np.array(working), 4) if len(part) > 1]
    return [
        (60 * (part[-1, 1] - part[0, 1]) / max(part[-1, 0] - part[0, 0], 1e-9), float(part[:, 2].max()))
        for part in parts
    ]


def main() -> int:
    """Exit status 1 where a photo is lost or a bad one is not reported."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("words", nargs="*", help="of protect, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        one, two = Path(place, "one", "in"), Path(place, "two", "in")
        bad, _ = fill(one, given.photos), fill(two, given.photos // 4)
        report, seen = watched(command(one, given.words), one.with_name("out"))
        reported = sorted(Path(photo["photo"]).name for photo in report["photos"] if photo["problem"])
        for number, (rate, memory) in enumerate(quarters(seen), 1):
            print(f"quarter {number}: {rate:.0f} photos a minute, {memory:.0f} MiB")
        print(f"{given.photos} photos in {seen[-1][0]:.0f} s, {len(bad)} bad, reported: {reported == bad}")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        both = [subprocess.Popen(command(two, given.words), **quiet) for _ in range(2)]
        statuses = [process.wait() for process in both]
        missing = sorted({p.name for p in two.iterdir()} - {p.name for p in two.with_name("out").iterdir()})
        print(f"two runs at once on {given.photos // 4} photos: statuses {statuses}, without an output: {missing}")
        return 0 if reported == bad and len(missing) == given.photos // 4 // EVERY else 1


if __name__ == "__main__":
    sys.exit(main())
