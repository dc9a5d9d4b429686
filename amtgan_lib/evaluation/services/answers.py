"""What a face comparison service is asked, what may come back, and where it is kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from PIL import Image

from amtgan_lib import images
from amtgan_lib.files import write_text

ANSWERED, NO_FACE, WRONG_KEY = "answered", "no face", "wrong key"
QUOTA, TIME_OUT, REFUSED = "quota", "time-out", "refused"
FINAL = (ANSWERED, NO_FACE)
"""Outcomes about the pictures; after any other the pair is asked again by the next run."""
SIDE = 512
"""Pixels of the longer side that is sent: Face++ takes two megabytes a request, both pictures together."""


class Failure(Exception):
    """A comparison without a score. ``code`` is the service's own, never its sentence, which may name an account."""

    def __init__(self, outcome: str, code: str = ""):
        super().__init__(f"{outcome} {code}".strip())
        self.outcome, self.code = outcome, re.match(r"[\w. -]{0,80}", code)[0].strip()

    @classmethod
    def of(cls, code: str, known: Mapping[str, tuple[str, ...]]) -> Failure:
        """The failure with the outcome for which ``known`` has the beginning of the code, else REFUSED."""
        return cls(next((outcome for outcome, begins in known.items() if code.startswith(begins)), REFUSED), code)


@dataclass(frozen=True)
class Score:
    """A similarity on the service's own scale, and its thresholds: {false accept rate, or "default": score}."""

    value: float
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class Service:
    """A service that compares the largest faces of two pictures (PNG), or raises Failure.

    keys: environment variables. package: the SDK's distribution. per_minute: comparisons; transactions: billed for one.
    """

    name: str
    compare: Callable[[bytes, bytes], Score]
    keys: tuple[str, ...]
    package: str
    per_minute: float
    transactions: int = 1

    @property
    def missing(self) -> list[str]:
        """What has to be there before it can be asked: environment variables, and the package of its SDK."""
        found = [key for key in self.keys if not os.environ.get(key)]
        installed = not self.package or any(importlib.metadata.distributions(name=self.package))
        return found if installed else [*found, f"the package {self.package} (the extra `services`)"]


@dataclass(frozen=True)
class Picture:
    """What is sent of a photo: pixels as PNG, without name or metadata. ``sha256`` is that of size and pixels."""

    sha256: str
    png: bytes = field(repr=False, compare=False)


def picture(photo: str | Path | Image.Image, side: int = SIDE) -> Picture:
    """The upright photo in 8-bit RGB, its longer side at most ``side`` pixels. Raises PhotoError."""
    pixels = Image.fromarray(images.open_photo(photo).rgb)
    pixels.thumbnail((side, side), Image.Resampling.LANCZOS)
    sha256 = hashlib.sha256(b"%d %d " % pixels.size + pixels.tobytes()).hexdigest()
    return Picture(sha256, images.encoded(pixels))


@dataclass(frozen=True)
class Answer:
    """What a service said about two pictures, and when (UTC). Without a score its outcome says why."""

    service: str
    first: str  # sha256
    second: str
    asked: str
    outcome: str
    score: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    code: str = ""

    @property
    def same(self) -> bool | None:
        """Whether it takes both for one person, at its lowest threshold; None without a score."""
        return None if self.score is None else self.score >= min(self.thresholds.values())

    @property
    def far(self) -> float | None:
        """The false accept rate of its lowest threshold; None where the service names none."""
        lowest = min(self.thresholds, key=self.thresholds.__getitem__, default="default")
        return None if lowest == "default" else float(lowest)


@dataclass(frozen=True)
class Answers:
    """Answers on disk, one small file a service and pair of pictures, each written whole or not at all."""

    folder: Path

    def find(self, service: Service, first: Picture, second: Picture) -> Answer | None:
        """The stored answer, or None."""
        file = self._file(service.name, first.sha256, second.sha256)
        return Answer(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    def keep(self, answer: Answer) -> None:
        """Write an answer in place of an older one."""
        file = self._file(answer.service, answer.first, answer.second)
        write_text(json.dumps(asdict(answer), indent=1) + "\n", file)

    def _file(self, service: str, first: str, second: str) -> Path:
        return self.folder / service / f"{first}-{second}.json"
