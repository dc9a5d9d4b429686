"""Feed broken and hostile files to everything that reads files: `python -m benchmarks.fuzz --count 100000`.

Each input is a small generated file, mutated: flipped, cut, spliced with others, with extreme numbers and foreign
tails; among the seeds are bombs, polyglots, names that climb out of a folder, links, 30,000 pixels, wrong shapes and
extra keys. A reader may return a result or raise its documented error. Anything else is a finding: another error, a
crash, more than SECONDS of a processor, more than MEMORY beyond the imports, or a file outside the folder.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import io
import json
import math
import multiprocessing
import random
import resource
import signal
import stat
import struct
import sys
import tempfile
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from amtgan_lib import assets, datasets, faces, files, images, models, paths, recognizers
from amtgan_lib.assets import AssetError
from amtgan_lib.evaluation.scores import stored_thresholds
from amtgan_lib.images import PhotoError
from amtgan_lib.pipeline import PresetError, RunError, presets, runs
from amtgan_lib.reporting import results

SECONDS, WAITING, MEMORY, LONGEST = 20, 600, 2 << 30, 200_000
EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 30_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


@dataclass(frozen=True)
class Reader:
    """Something that reads files: its seeds, how it is called with a file, and the errors that it documents."""

    suffix: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...]


# ---------------------------------------------------------------- seeds


def pictures() -> list[bytes]:
    """Every format and mode, and pictures that claim to be larger than they are."""
    made = []
    noise = np.random.default_rng(0).integers(0, 255, (24, 20, 4), np.uint8)
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    for form, modes in {
        "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
        "JPEG": ("RGB", "L", "CMYK"),
        "WEBP": ("RGB", "RGBA"),
        "TIFF": ("RGB", "L", "CMYK", "F"),
        "BMP": ("RGB", "L"),
        "GIF": ("P",),
    }.items():
        for mode in modes:
            picture = deep if mode == "I;16" else Image.fromarray(noise).convert(mode)
            picture.save(file := io.BytesIO(), form, **({"exif": exif()} if form in ("PNG", "JPEG", "WEBP") else {}))
            made.append(file.getvalue())
    frames = [Image.fromarray(noise[..., :3]), Image.new("RGB", (20, 24), "red")]
    for form in ("GIF", "WEBP", "TIFF", "PNG"):
        frames[0].save(file := io.BytesIO(), form, save_all=True, append_images=frames[1:])
        made.append(file.getvalue())
    return [*made, *(png(*size) for size in ((30_000, 30_000), (30_000, 2), (2, 0xFFFFFFFF), (0, 5), (9_000, 9_000)))]


def exif() -> Image.Exif:
    """Orientation, text and place."""
    tags = Image.Exif()
    tags[0x0112], tags[0x013B] = 6, "Ann"
    tags.get_ifd(0x8825)[2] = (51.0, 30.0, 0.0)
    return tags


def png(width: int, height: int) -> bytes:
    """A PNG that claims this size, with zeros for at most 16 MB of its pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    pixels = zlib.compress(bytes(min(height * (1 + 3 * width), 1 << 24)))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def zips() -> list[bytes]:
    """Weights by name and by place, climbing names, a link, a bomb, two of a name, and a folder."""
    asset = assets.table()[0]
    kinds = {
        "plain": [("weights/G.pth", b"x" * 50)],
        "climbing": [("../../G.pth", b"x"), ("/etc/H.pth", b"y"), ("..\\..\\D_A.pth", b"z")],
        "pinned": [(f"mirror/{asset.relative}", b"not it")],
        "bomb": [("G.pth", bytes(1 << 24))],
        "twice": [("a/G.pth", b"1"), ("b/G.pth", b"2")],
        "strange": [("\1G.pth", b""), ("H.pth/", b""), ("é" * 300 + "/G.pth", b"")],
    }
    made = []
    for members in kinds.values():
        with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
            link = zipfile.ZipInfo("H.pth")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, "/etc/passwd")
        made.append(file.getvalue())
    return made


def tensors(metadata: dict[str, str] | None, *shapes: tuple[int, ...]) -> bytes:
    """A safetensors file."""
    return save({f"entry.{n}": torch.zeros(shape) for n, shape in enumerate(shapes)}, metadata)


def generators() -> list[bytes]:
    """A whole one, and ones that describe themselves wrongly."""
    network = models.Generator(4, 2)
    whole = dict(network.state_dict())
    built, facts = json.dumps(network.built), json.dumps({"recipe": "residual", "size": 32})
    huge = json.dumps({**network.built, "width": 1 << 16})
    descriptions = [built, huge, "{}", "[]", "nan", '{"width": -1}', '{"width": "a"}', '{"extra": 1}', "[" * 5000]
    made = [save(whole, {"generator": each, "facts": facts}) for each in descriptions]
    made += [save(whole, {"generator": built, "facts": "["})]
    return [*made, tensors(None, (2, 2)), tensors({"facts": "{}"}, (1,))]


def shipped() -> list[bytes]:
    """The start of a recogniser's file, and others' facts."""
    facts = [{"name": name} for name in ("drawn_ir", "edgeface_xs", "nobody", 7)] + [[], "text"]
    return [tensors({"facts": json.dumps(each)}, (2, 3)) for each in facts]


def checkpoints() -> list[bytes]:
    """Tensors, wrong types, and code that must not run."""
    made = []
    for content in ({"config": "{}", "step": 1}, {"G": torch.zeros(2, 2)}, [1, 2], torch.zeros(3), Path("code")):
        for old in (False, True):
            torch.save(content, file := io.BytesIO(), _use_new_zipfile_serialization=not old)
            made.append(file.getvalue())
    return [*made, b"\x80\x04cos\nsystem\n(S'touch fuzzed'\ntR."]


def prepared() -> list[bytes]:
    """Sets as notebook 1 stores them, with wrong shapes, keys and types."""
    manifest = np.array("set,person,part,split,asset,parse_asset,parse_order\na,a/1,source,test,drawn/x.png,,\n")
    arrays = {"images": np.zeros((1, 8, 8, 3), np.uint8), "masks": np.zeros((1, 3, 8, 8), bool)}
    arrays |= {"landmarks": np.zeros((1, 68, 2)), "points": np.zeros((1, 5, 2)), "drawings": np.array("x")}
    made = []
    for extra in ({}, {"images": np.zeros(3)}, {"points": np.array(["a"])}, {"images": np.array([None])}):
        np.savez(file := io.BytesIO(), manifest=manifest, **{**arrays, **extra})
        made.append(file.getvalue())
    np.savez(file := io.BytesIO(), manifest=np.array("a,b\n1\n"))
    return [*made, file.getvalue()]


PRESETS = [
    "notebooks: [01_prepare_data, 03_train]\nrepeat:\n  03_train: {recipe: [residual]}\nparameters: {seed: 1}\n",
    "notebooks: [01_prepare_data]\nparameters: {size: [1, 2], people: .nan}\nextra: 1\n",
    "notebooks: {01_prepare_data: 1}\n? [a]\n: b\n",
    "notebooks: !!python/object/apply:os.system ['touch fuzzed']\n",
    "parameters: {size: &a [1, 1, 1, 1, 1, 1], views: &b [*a, *a, *a, *a, *a, *a], seed: &c [*b, *b, *b, *b, *b, *b], "
    "width: &d [*c, *c, *c, *c, *c, *c], steps: &e [*d, *d, *d, *d, *d, *d], batch: &f [*e, *e, *e, *e, *e, *e], "
    "people: [*f, *f, *f, *f, *f, *f, *f, *f, *f, *f, *f, *f, *f, *f, *f, *f]}\nnotebooks: [01_prepare_data]\n",
    "notebooks: &n [*n]\n",
    "[" * 3000,
    "notebooks: [../../etc/passwd, /dev/zero]\n",
]
TABLES = [
    "recogniser,far,threshold\na,0.01,0.5\na,0.1,0.3\nb,0.01,nan\n",
    ",".join(results.COLUMNS) + "\n" + ",".join("1" for _ in results.COLUMNS) + "\n",
    'recogniser,far,threshold\n"a,0.01,0.5\n',
    "recogniser,far,threshold,recogniser\na,1e999,0.5,b\n",
]
RUNS = ['{"status": "done", "notebooks": {}, "outputs": []}', "[" * 5000, '{"a": 1e999, "a": NaN}', "[]", "null"]


# ---------------------------------------------------------------- readers


def _run(path: Path) -> object:
    (path.parent / "run.json").write_bytes(path.read_bytes())
    return runs.read(path.parent)


def _table(path: Path) -> object:
    try:
        return stored_thresholds(path)
    except ValueError:
        return results.read(path)


def encoded(texts: list[str]) -> Callable[[], list[bytes]]:
    """Texts as seeds."""
    return lambda: [text.encode() for text in texts]


READERS = {
    "photos": Reader(".png", pictures, images.open_photo, (PhotoError,)),
    "faces": Reader(".png", pictures, lambda path: faces.detect_all(path, 64), (PhotoError,)),
    "presets": Reader(".yaml", encoded(PRESETS), lambda path: presets.plan(presets.load(path)), (PresetError,)),
    "archives": Reader(".zip", zips, assets.import_archive, (AssetError,)),
    "generators": Reader(".safetensors", generators, models.load_generator, (ValueError,)),
    "recognisers": Reader(".safetensors", shipped, recognizers.load_shipped, (ValueError, RuntimeError)),
    "checkpoints": Reader(".pt", checkpoints, files.read_tensors, (ValueError,)),
    "prepared": Reader(".npz", prepared, datasets.load, (ValueError,)),
    "tables": Reader(".csv", encoded(TABLES), _table, (ValueError,)),
    "runs": Reader(".json", encoded(RUNS), _run, (RunError,)),
}
SLOW = {"faces": 400}  # one input for so many of another kind


# ---------------------------------------------------------------- inputs


def mutated(seeds: list[bytes], draw: random.Random) -> bytes:
    """A seed with up to six changes, most of them near its beginning."""
    content = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((0, 1, 1, 2, 3, 6))):
        at = draw.randrange(min(len(content), draw.choice((64, 512, LONGEST))) + 1)
        new, replaced = _change(bytes(content[at:]), draw, draw.choice(seeds))
        content[at : at + replaced] = new
        del content[LONGEST:]
    return bytes(content)


def _change(rest: bytes, draw: random.Random, other: bytes) -> tuple[bytes, int]:
    """New bytes, and how many of ``rest`` they replace; ``other`` is a seed to continue with."""
    flipped = bytes(byte ^ 1 << draw.randrange(8) for byte in rest[:1])
    value, order = draw.choice(EXTREMES), draw.choice(("little", "big"))
    number = value.to_bytes(4, order) if value > 0xFFFF or draw.random() < 0.5 else bytes([value & 255])
    doubled = rest[: draw.choice((1, 16, 300))] * draw.choice((1, 5, 40))
    changes = [(b"", draw.choice((1, 8, 200, LONGEST))), (doubled, 0), (draw.randbytes(draw.choice((1, 4, 100))), 0)]
    changes += [(other[draw.randrange(len(other) + 1) :], LONGEST)]
    return draw.choice([*changes, *2 * [(flipped, 1), (number, len(number))]])


# ---------------------------------------------------------------- running


class Hang(BaseException):
    """An input took more than SECONDS, or WAITING by the clock."""


def child(kind: str, count: int, seed: int, findings: Path, at: ctypes.c_long) -> None:
    """Read the inputs from number ``at`` to ``count``, noting the number of each before it may kill us."""

    def hang(*_: object) -> None:
        raise Hang

    reader, place = READERS[kind], findings.parent / f"input{READERS[kind].suffix}"
    seeds = reader.seeds()
    paths.CACHE = findings.parent / "cache"
    presets.read_notebook = functools.cache(presets.read_notebook)  # our own files, and nearly all of the time
    images.open_photo(np.zeros((8, 8, 3), np.uint8))
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, hang)
    signal.signal(signal.SIGALRM, hang)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    for number in range(at.value, count):
        at.value = number
        place.write_bytes(mutated(seeds, random.Random(f"{kind} {seed} {number}")))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: a busy machine is no finding
        signal.alarm(WAITING)
        found = finding(reader, place)
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if found:
            with findings.open("a") as file:
                file.write(json.dumps([kind, number, found]) + "\n")


def finding(reader: Reader, place: Path) -> str:
    """What is wrong in how a file is read, "" where that gives a result or a documented error."""
    try:
        reader.read(place)
    except reader.errors:
        return ""
    except (Exception, Hang) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {error}"[:300]
    return ""


def fuzz(kind: str, count: int, seed: int = 0) -> list[list]:
    """Read so many inputs of a kind in processes of their own; the findings: [kind, number of the input, what]."""
    ctx = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "a" / "b"
        inner.mkdir(parents=True)
        findings, at, crashes = inner / "findings", ctx.RawValue(ctypes.c_long), []
        while at.value < count:
            process = ctx.Process(target=child, args=(kind, count, seed, findings, at))
            process.start()
            process.join()
            if process.exitcode == 0:
                break
            if process.exitcode > 0:
                raise RuntimeError(f"the process that reads {kind} failed at input {at.value}")
            crashes.append([kind, at.value, f"killed by signal {-process.exitcode}"])
            at.value += 1
        outside = [str(path) for path in Path(folder).rglob("*") if path.is_file() and inner not in path.parents]
        escaped = [[kind, -1, f"files outside: {outside}"]] * bool(outside or Path("fuzzed").exists())
        found = [json.loads(line) for line in findings.read_text().splitlines()] if findings.exists() else []
        return [*found, *crashes, *escaped]


def main() -> int:
    """Fuzz all readers, each with its share of the inputs; exit status 1 after findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="inputs of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=READERS, action="append")
    given = parser.parse_args()
    weights = {kind: 1 / SLOW.get(kind, 1) for kind in given.only or READERS}
    total, found = 0, []
    for kind in sorted(weights, key=weights.get, reverse=True):
        share = math.ceil(given.count * weights[kind] / sum(weights.values()))
        here = fuzz(kind, share, given.seed)
        total, found = total + share, found + here
        print(f"{kind}: {share} inputs, {len(here)} findings", flush=True)
    for finding in found[:40]:
        print(*finding)
    print(f"{total} inputs, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
