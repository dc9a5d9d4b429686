"""A protocol: which photos are protected, what judges know, and who judges: one file, data/protocols/NAME.json.

Beside the facts of :class:`Protocol` it has a line a photo:

id         its file name; of a source also that of its protected photo
person     whom it shows
role       source: to be protected; other: what judges know of a person; reference: whose makeup may be borrowed;
           target: what a method may see of somebody whom others are to be taken for
asset      where it is from
sha256     of its file; empty for drawn photos, whose last bits differ from processor to processor
colours    of drawn photos instead: the mean colours of 4 x 4 parts, in hexadecimal
reference  of a source: the id of its makeup reference
group      of a source: its share of the test, from 1 on
target     of a source: the person whom its share is to be taken for
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from amtgan_lib import images, paths
from amtgan_lib.datasets import drawn
from amtgan_lib.datasets.drawn import Progress
from amtgan_lib.datasets.face_set import FaceSet, files, load, prepare
from amtgan_lib.datasets.parts import PAIRINGS
from amtgan_lib.files import sha256_of, write_text
from amtgan_lib.recognizers import Recognizer

PHOTO_COLUMNS = ["id", "person", "role", "asset", "sha256", "colours", "reference", "group", "target"]
NOBODY = "nobody"
SIZE = 256  # pixels of the faces that judges know
NEAR = 1  # level of 255 by which the mean colours of a drawn photo may differ


class ProtocolError(ValueError):
    """One sentence: what does not agree with a protocol."""


@dataclass(frozen=True)
class Pinned:
    """A judge: the sha256 of its weights, and {false accept rate: cosine}."""

    sha256: str
    thresholds: Mapping[float, float]


@dataclass(frozen=True)
class Protocol:
    """Photos, judges, and the target of the reading "all"; ``sha256`` is that of the file, and so pins all of it."""

    name: str
    sha256: str
    target: str
    judges: Mapping[str, Pinned]
    photos: pd.DataFrame

    @functools.cached_property
    def sources(self) -> pd.DataFrame:
        """The photos to protect, in their order."""
        return self.of_role("source")

    def of_role(self, role: str) -> pd.DataFrame:
        """The lines of the photos with this role."""
        return self.photos[self.photos["role"] == role].reset_index(drop=True)

    @property
    def dataset(self) -> str:
        """The test in words, as result rows have it."""
        return f"{self.sources['person'].iloc[0].partition('/')[0]} test"

    @property
    def people(self) -> list[str]:
        """Those whom a photo may be made to pass as."""
        return self.of_role("target")["person"].tolist()

    def targets(self, target: str = "all") -> list[str]:
        """Whom each source is to be taken for: by a reading, or all of them for one person.

        For "nobody" they are those of "all". ProtocolError for any other word.
        """
        if target == "groups":
            return self.sources["target"].tolist()
        if target not in ("all", NOBODY, *self.people):
            known = ", ".join((*PAIRINGS, NOBODY, *self.people))
            raise ProtocolError(f"{target!r} is no target of the protocol {self.name}: choose from {known}.")
        return [target if target in self.people else self.target] * len(self.sources)

    def pinned(self, judge: Recognizer) -> Recognizer:
        """The judge with the protocol's thresholds; ProtocolError where it is another network than the pinned one."""
        known = self.judges[judge.name]
        if judge.weights_sha256 != known.sha256:
            raise ProtocolError(f"the protocol {self.name} is judged by other weights of {judge.name} than these.")
        return judge.with_thresholds(known.thresholds)

    def known_faces(self, progress: Progress = iter) -> FaceSet:
        """The faces that judges know, one a person and target, of 256 px; cut out once and then read.

        Raises ProtocolError where a photo is not the pinned one or shows no face, AssetError where one cannot be had.
        """
        known = self.of_role("other")
        file = paths.PREPARED / f"protocol-{self.name}-{self.sha256[:10]}-{drawn.folder().name}.npz"
        if not file.is_file():
            found(known, progress)
            prepare(_manifest(known), file, SIZE, progress)
        face_set = load(file)
        if len(face_set) < len(known):
            raise ProtocolError(f"{len(known) - len(face_set)} of the known photos show no face: see {file.parent}.")
        return face_set

    def export(self, folder: Path, progress: Progress = iter) -> None:
        """Write what a method may see: ``photos``, ``references`` and ``targets`` as PNG, and ``pairs.csv``.

        Of each photo, pairs.csv has its reference, its target in the reading "all", its group, and that one's target.
        Raises as :meth:`known_faces`.
        """
        for role, place in (("source", "photos"), ("reference", "references"), ("target", "targets")):
            for name, file in progress(found(self.of_role(role), progress).items()):
                images.save(folder / place / name, Image.fromarray(images.open_photo(file).rgb))
        shown = dict(self.of_role("target")[["person", "id"]].to_numpy())
        pairs = self.sources[["id", "reference"]].rename(columns={"id": "photo"})
        pairs = pairs.assign(target=shown[self.target], group=self.sources["group"])
        pairs["target of the group"] = self.sources["target"].map(shown)
        write_text(pairs.to_csv(index=False), folder / "pairs.csv")


def names() -> list[str]:
    """The protocols that there are."""
    return sorted(file.stem for file in paths.PROTOCOLS.glob("*.json"))


def protocol(name: str) -> Protocol:
    """The protocol of that name; ProtocolError naming those that exist."""
    if name not in names():
        raise ProtocolError(f"there is no protocol {name!r}: choose from {', '.join(names())}.")
    text = (paths.PROTOCOLS / f"{name}.json").read_bytes()
    stored = json.loads(text)
    judges = {
        judge: Pinned(row["sha256"], {float(far): cosine for far, cosine in row["thresholds"].items()})
        for judge, row in stored["judges"].items()
    }
    photos = pd.DataFrame(stored["photos"], columns=PHOTO_COLUMNS)
    photos = photos.fillna({column: 0 if column == "group" else "" for column in PHOTO_COLUMNS})
    return Protocol(name, hashlib.sha256(text).hexdigest(), stored["target"], judges, photos.astype({"group": int}))


def store(made: Protocol) -> Path:
    """Write a protocol; its ``sha256`` is not looked at, since it follows from the rest."""
    judges = {name: {"sha256": row.sha256, "thresholds": dict(row.thresholds)} for name, row in made.judges.items()}
    facts = {"target": made.target, "judges": judges}
    photos = [{key: value for key, value in row.items() if value} for row in made.photos.to_dict("records")]
    return write_text(lines(facts, "photos", photos), paths.PROTOCOLS / f"{made.name}.json")


def lines(facts: Mapping[str, object], name: str, rows: Iterable[Mapping[str, object]]) -> str:
    """Facts and a list of rows under ``name`` as JSON, with a line for each of them: what changed shows in a diff.

    Raises ValueError for a number that JSON lacks.
    """
    heads = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in facts.items()]
    table = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
    return "{\n" + ",\n".join([*heads, f"{json.dumps(name)}: [\n{table}\n]"]) + "\n}\n"


def found(photos: pd.DataFrame, progress: Progress = iter) -> dict[str, Path]:
    """{id: file} of a protocol's photos, fetched or drawn where they are missing, each found to be the pinned one.

    Raises ProtocolError for one that is not, AssetError for one that cannot be had.
    """
    at_hand = files(photos["asset"], progress)
    for row in photos.itertuples():
        file = at_hand[row.asset]
        if not (sha256_of(file) == row.sha256 if row.sha256 else _near(colours(file), row.colours)):
            raise ProtocolError(f"{file} is not the photo that the protocol pins as {row.id}: it has other contents.")
    return {row.id: at_hand[row.asset] for row in photos.itertuples()}


def colours(file: Path) -> str:
    """The mean colours of 4 x 4 parts of a picture, row by row, in hexadecimal."""
    return Image.fromarray(images.open_photo(file).rgb).resize((4, 4), Image.Resampling.BOX).tobytes().hex()


def _near(one: str, other: str) -> bool:
    """Whether two texts of :func:`colours` are of one picture; processors round a pixel in 100,000 differently."""
    pairs = zip(bytes.fromhex(one), bytes.fromhex(other))
    return len(one) == len(other) and all(abs(first - second) <= NEAR for first, second in pairs)


def _manifest(known: pd.DataFrame) -> pd.DataFrame:
    """Known photos as a manifest, in the parts that galleries are made from (``parts.target_photo``)."""
    sets = known["person"].str.partition("/")[0]
    part = sets.map({"celeba_hq_target": "target_metric"}).fillna("other")
    parts = {"set": sets, "person": known["person"], "part": part, "split": "test", "asset": known["asset"]}
    return pd.DataFrame(parts).assign(parse_asset="", parse_order="")
