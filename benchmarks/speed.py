"""How fast everything is, beside the published algorithm and the rate of the convolutions, measured in the same run.

Run it from the checkout: ``make bench``, or ``.venv/bin/python -m benchmarks.speed``. Nothing is fetched: faces are
drawn, recognisers are the drawn world's. Works that are compared take turns, so that other work on the machine hits all
of them, and medians are printed. ``--store`` writes their rows to ``results/measured/speed.csv``.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from amtgan_lib import compute, losses, paths, portraits
from amtgan_lib.demos import session
from amtgan_lib.methods import generator as generators
from amtgan_lib.models import Generator, Regularizer, load_generator
from amtgan_lib.reporting import pages, results
from benchmarks import published
from benchmarks.bench import Bench, in_a_process, pair, sides
from benchmarks.machine import drawn_photo, hinting, latest_run, paces, protecting
from benchmarks.steps import memory, profile, training_step
from benchmarks.studio import REPEATS as SLIDES
from benchmarks.studio import measure as measure_sliders

SIZE = 256
SKIN = slice(1, 2)
PHOTOS = ((1600, 1200), (4000, 3000))


# --- the limit ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """A convolution as a network calls it, alone."""

    module: nn.Module
    input: Tensor

    @property
    def flops(self) -> float:
        """Multiplications and additions: each weight meets each position of the smaller of the two pictures."""
        transposed = isinstance(self.module, nn.ConvTranspose2d)
        stride = 1 if transposed else self.module.stride[0] ** 2
        return 2 * self.module.weight.numel() * len(self.input) * self.input[0, 0].numel() / stride


def layers(network: nn.Module, *inputs: Tensor) -> list[Layer]:
    """Every call of a convolution in one pass."""
    found: list[Layer] = []
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [each.register_forward_hook(lambda m, given, _: found.append(Layer(m, given[0]))) for each in convolutions]
    network(*inputs)
    for hook in hooks:
        hook.remove()
    return found


def limits(bench: Bench, what: str, calls: Sequence[Layer], dtype: torch.dtype, taken: float) -> None:
    """``taken`` seconds of a network beside two limits: its FLOPs at the best layer's rate, its convolutions alone."""
    kinds = {(str(layer.module), tuple(layer.input.shape)): layer for layer in calls}
    works = {}
    for kind, layer in kinds.items():
        module = copy.deepcopy(layer.module).to(dtype=dtype, memory_format=torch.channels_last)
        given = layer.input.to(dtype=dtype, memory_format=torch.channels_last)
        works[kind] = lambda module=module, given=given: module(given)
    alone = bench.seconds(works)
    rate = max(layer.flops / alone[kind] for kind, layer in kinds.items())
    least = sum(layer.flops for layer in calls) / rate
    whole = sum(alone[str(layer.module), tuple(layer.input.shape)] for layer in calls)
    way = "float32" if dtype == torch.float32 else "bfloat16"
    bench.note(what, way, "best GFLOP/s", rate / 1e9, bench.repeats)
    bench.note(what, way, "times FLOPs/rate", taken / least, bench.repeats)
    bench.note(what, way, "times convolutions", taken / whole, bench.repeats)


# --- what is measured ---------------------------------------------------------------------------------------------


@torch.inference_mode()
def generator(bench: Bench) -> None:
    """G at the paper's size, one pair at a time; its weights do not matter for the time."""
    torch.manual_seed(0)
    network = Generator().eval().to(bench.device)
    both = pair(SIZE, bench.device)
    inputs = sides(both)
    plain = published.generator_of(network)
    plain.prepared = published.positions(inputs[4], inputs[2]), published.positions(inputs[5], inputs[3])
    network.to(memory_format=torch.channels_last)
    narrow = torch.autocast(bench.device, torch.bfloat16)(network)
    ways = {"float32": lambda: network(*inputs), "bfloat16": lambda: narrow(*inputs)}
    taken = bench.compare(f"generator, {SIZE} px", lambda: plain(*inputs), ways)
    calls = layers(network, *inputs)
    for dtype in (torch.float32, torch.bfloat16):
        way = str(dtype).removeprefix("torch.")
        limits(bench, f"generator, {SIZE} px", calls, dtype, taken[way])
    worst = (network(*inputs) - plain(*inputs)).abs().max().item()
    bench.note(f"generator, {SIZE} px", "float32", "largest error, levels", 127.5 * worst)
    bench.note(f"generator, {SIZE} px", "bfloat16", "mean error, levels", error(narrow(*inputs), plain(*inputs)))
    trained(bench)


def trained(bench: Bench) -> None:
    """What bfloat16 changes in the pictures of the shipped generator, with random hints."""
    network, facts = load_generator(generators.SHIPPED)
    network = network.to(bench.device)
    inputs = sides(pair(facts["size"], bench.device))
    hints = torch.randn(1, network.hint_channels, *inputs[0].shape[2:], device=bench.device).tanh()
    wide, narrow = network(*inputs, hints), torch.autocast(bench.device, torch.bfloat16)(network)(*inputs, hints)
    bench.note(f"trained generator, {facts['size']} px", "bfloat16", "mean error, levels", error(narrow, wide))


def error(narrow: Tensor, wide: Tensor) -> float:
    """Mean difference in 8-bit levels."""
    return 127.5 * (narrow.float() - wide.float()).abs().mean().item()


@torch.inference_mode()
def regularizer(bench: Bench) -> None:
    """H at the paper's size."""
    torch.manual_seed(0)
    plain = Regularizer().eval().to(bench.device)
    network = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    image = pair(SIZE, bench.device).image[:1]
    narrow = torch.autocast(bench.device, torch.bfloat16)(network)
    ways = {"float32": lambda: network(image), "bfloat16": lambda: narrow(image)}
    taken = bench.compare(f"regularizer, {SIZE} px", lambda: plain(image), ways, 3)
    limits(bench, f"regularizer, {SIZE} px", layers(network, image), torch.float32, taken["float32"])


def histogram(bench: Bench) -> None:
    """The makeup loss of one skin mask, with its gradient."""
    both = pair(SIZE, bench.device)
    image, reference = both.image[:1].clone().requires_grad_(), both.image[1:]
    own, other = both.masks[:1, SKIN], both.masks[1:, SKIN]

    def slope(loss: Callable[..., Tensor]) -> Tensor:
        return torch.autograd.grad(loss(image, reference, own, other), image)[0]

    fast = {"float32": lambda: slope(losses.histogram_loss)}
    bench.compare(f"histogram loss, skin, {SIZE} px", lambda: slope(published.histogram_loss), fast, calls=10)


BATCHES = {"cpu": (4,), "cuda": (8, 32, 128)}


@torch.inference_mode()
def inference(bench: Bench) -> None:
    """Faces a second of the generator at the paper's size, in batches."""
    torch.manual_seed(0)
    network = Generator().eval().to(bench.device, memory_format=torch.channels_last)
    narrow = torch.autocast(bench.device, torch.bfloat16)(network)
    for batch in BATCHES[bench.device]:
        inputs = [side.repeat(batch, *[1] * (side.ndim - 1)) for side in sides(pair(SIZE, bench.device))]
        taken = bench.seconds({"float32": lambda i=inputs: network(*i), "bfloat16": lambda i=inputs: narrow(*i)}, 3)
        for way, seconds in taken.items():
            bench.note(f"generator, {SIZE} px, batch {batch}", way, "faces a second", batch / seconds, 3)


CHILD = """
import re, sys, time
from amtgan_lib.protection import prepare, protect
began = time.perf_counter()
protect(sys.argv[1]).save(sys.argv[2])
first = time.perf_counter() - began
protector = prepare()
began = time.perf_counter()
protector.protect(sys.argv[1]).save(sys.argv[2])
again = time.perf_counter() - began
peak = int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])
print('measured', first, again, peak / 2**20, len(protector.method.guide.recognizers))
"""


def photo(bench: Bench) -> None:
    """Protect a drawn portrait in a process of its own: its first call, one after, and peak memory (Linux)."""
    for size in PHOTOS:
        with tempfile.TemporaryDirectory() as folder:
            before, after = drawn_photo(Path(folder) / "before.jpg", size), Path(folder) / "after.png"
            # The first run writes the bytecode that every later one reads.
            runs = [in_a_process(CHILD, str(before), str(after)) for _ in range(4)][1:]
        first, again, gib, hints = (statistics.median(values) for values in zip(*runs, strict=True))
        what = f"protect, {size[0] * size[1] / 1e6:.0f} MP, {hints:.0f} recogniser{'s' if hints > 1 else ''}"
        bench.note(what, "float32", "seconds, first call", first, 3)
        bench.note(what, "float32", "seconds, next call", again, 3)
        bench.note(what, "float32", "peak GiB", gib, 3)


def importing(bench: Bench) -> None:
    """``import amtgan_lib`` in a fresh process."""
    code = "import time; t = time.perf_counter(); import amtgan_lib; print('measured', time.perf_counter() - t)"
    seconds = [in_a_process(code)[0] for _ in range(6)][1:]
    bench.note("import amtgan_lib", "", "seconds", statistics.median(seconds), 5)


def sliders(bench: Bench) -> None:
    """From a slider of the demo to its picture, for drawn faces and for photographs with the recognisers at hand."""
    for name, kit in (("drawn", session.drawn_kit()), ("photo", session.photo_kit())):
        for step, seconds in measure_sliders(kit).items():
            bench.note(f"demo, {name}, {len(kit.judges)} meters", step, "seconds", seconds, SLIDES)


def drawing(bench: Bench) -> None:
    """Portraits a second of one thread's own time, in which other work counts less: the best of three."""
    threads, numbers, seconds = torch.get_num_threads(), range(32), []
    torch.set_num_threads(1)
    who, worn, moments = portraits.people(numbers), portraits.makeups(numbers), portraits.scenes(numbers)
    portraits.draw(who[:2], worn[:2], moments[:2], 128)  # the first call pays for what is loaded then
    for _ in range(3):
        began = time.process_time()
        portraits.draw(who, worn, moments, 128)
        seconds.append(time.process_time() - began)
    torch.set_num_threads(threads)
    bench.note("portraits, 128 px, one thread", "", "portraits a second", len(numbers) / min(seconds), 3)


def machine(device: str) -> str:
    """The hardware in words, a CPU with the instructions that are used of it: rows of one kind replace each other."""
    name = results.device_name(device)
    if device != "cpu":
        return name
    native, _ = compute.native_bfloat16()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}{', bfloat16' if native else ''}"


def stored(bench: Bench) -> list[results.Row]:
    """The measurements as rows of the results."""
    threads = torch.get_num_threads()
    versions = f"torch {torch.__version__}, {threads} threads"
    known = {"experiment": "speed", "preset": "", "recogniser": "", "target": "", "far": None, "seed": 0}
    known |= {"commit": results.commit(), "device": machine(bench.device), "note": versions}
    return [
        results.Row(dataset=what, method=way, metric=metric, value=value, n=n, **known)
        for what, way, metric, value, n in bench.rows
    ]


def store(rows: pd.DataFrame, file: Path) -> Path:
    """Write the rows to ``file``, in place of those of the same work and metric on the same kind of machine."""
    if not file.exists():
        return results.write(rows, file)
    known, keys = results.read(file), ["dataset", "metric", "device"]
    kept = known[~known.set_index(keys).index.isin(rows.set_index(keys).index)]
    return results.write(results.joined(rows.iloc[:0], kept, rows), file)


WORKS = {
    "generator": generator,
    "regularizer": regularizer,
    "histogram": histogram,
    "step": lambda bench: training_step(bench, SIZE if bench.device == "cuda" else SIZE // 2),
    "profile": lambda bench: profile(bench, SIZE if bench.device == "cuda" else SIZE // 2),
    "inference": inference,
    "memory": memory,
    "photo": photo,
    "sliders": sliders,
    "import": importing,
    "hints": hinting,
    "paces": paces,
    "busy": protecting,
    "run": latest_run,
    "portraits": drawing,
}


LARGE = ("memory", "run")  # float32 without checkpointing takes 22 GiB; a run has to be there


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the works that are named, or all that fit a laptop."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    which = f"some of {', '.join(WORKS)}; by default all but {', '.join(LARGE)}"
    parser.add_argument("works", nargs="*", metavar="WORK", help=which)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--store", action="store_true", help="write their rows to results/measured/speed.csv")
    given = parser.parse_args(arguments)
    if unknown := set(given.works) - set(WORKS):
        parser.error(f"no work {', '.join(sorted(unknown))}; there are {', '.join(WORKS)}")
    bench = Bench(given.device, given.repeats)
    for name in given.works or [name for name in WORKS if name not in LARGE]:
        WORKS[name](bench)
    if given.store:
        print(store(results.frame(stored(bench)), paths.MEASURED / "speed.csv"))
        page = pages.page(paths.DOCS / "performance.md")
        page.make()
        print(f"{page.path}\n`make results` brings the other pages up to date")


if __name__ == "__main__":
    main()
