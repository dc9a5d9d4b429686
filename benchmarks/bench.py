"""How works are measured: in turns, their medians printed and kept; and the two drawn faces that they work on."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from amtgan_lib import datasets
from amtgan_lib.datasets import FaceBatch


@dataclass
class Bench:
    """Where and how often to measure; ``rows`` are (what, way, metric, value, n)."""

    device: str = "cpu"
    repeats: int = 7
    rows: list[tuple[str, str, str, float, int]] = field(default_factory=list)

    def note(self, what: str, way: str, metric: str, value: float, n: int = 1) -> None:
        """Keep one number and print it."""
        self.rows.append((what, way, metric, value, n))
        print(f"{what:<34}{way:<24}{metric:<22}{value:10.4g}", flush=True)

    def seconds(
        self, works: Mapping[str, Callable[[], object]], repeats: int | None = None, calls: int = 1
    ) -> dict[str, float]:
        """Median seconds of a call of each, taking turns of so many ``calls``, after one turn that does not count."""
        taken: dict[str, list[float]] = {name: [] for name in works}
        for turn in range((repeats or self.repeats) + 1):
            for name, work in works.items():
                began = time.perf_counter()
                for _ in range(calls):
                    work()
                if self.device != "cpu":
                    torch.cuda.synchronize()
                if turn:
                    taken[name].append((time.perf_counter() - began) / calls)
        return {name: statistics.median(each) for name, each in taken.items()}

    def compare(
        self,
        what: str,
        plain: Callable[[], object],
        fast: Mapping[str, Callable[[], object]],
        repeats: int | None = None,
        calls: int = 1,
    ) -> dict[str, float]:
        """Seconds of the published way and of ours, and how many times as fast ours are."""
        taken = self.seconds({"published": plain, **fast}, repeats, calls)
        for way, value in taken.items():
            self.note(what, way, "seconds", value, repeats or self.repeats)
        for way in fast:
            self.note(what, way, "times as fast", taken["published"] / taken[way], repeats or self.repeats)
        return taken


def pair(size: int, device: str = "cpu") -> FaceBatch:
    """Two drawn people in makeup: a source and a reference."""
    return datasets.drawn_pair(size).to(device)


def sides(both: FaceBatch) -> list[Tensor]:
    """The arguments of a generator."""
    parts = (both.image, both.masks, both.landmarks)
    return [part[index : index + 1] for part in parts for index in (0, 1)]


def in_a_process(code: str, *arguments: str) -> list[float]:
    """The numbers that a fresh Python process prints behind the word measured."""
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=usual)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("measured ")]
    return [float(word) for word in line.split()[1:]]
