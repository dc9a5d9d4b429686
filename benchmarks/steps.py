"""One training step of the paper's networks against three recognisers at five views: speed, memory, profile."""

from __future__ import annotations

import torch

from amtgan_lib import losses, recognizers
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.recipes import CORRECTED
from amtgan_lib.training import TrainConfig, Trainer
from benchmarks import published
from benchmarks.bench import Bench, in_a_process, pair

SIZE = 256
JUDGES = ("drawn_ir", "drawn_irse", "drawn_mobile")
SELF = {"cpu": "cpu", "cuda": "device"}
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")  # some are the profiler's own
STEPS = {
    "float32": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, batch 4": {"precision": "bfloat16", "batch": 4},
}
GPU_STEPS = {
    "bfloat16, batch 8": {"precision": "bfloat16", "batch": 8},
    "bfloat16, batch 8, compiled": {"precision": "bfloat16", "batch": 8, "compile_mode": "default"},
}


def trainer(bench: Bench, size: int, both: FaceBatch, **settings) -> Trainer:
    """Of the paper's networks, against three drawn recognisers at five views."""
    networks = [recognizers.load(name) for name in JUDGES]
    config = TrainConfig("corrected", JUDGES, size=size, device=bench.device, **settings)
    return Trainer(config, both[:1], networks, losses.perceptual(networks[0].features, JUDGES[0]))


def training_step(bench: Bench, size: int) -> None:
    """A step of the paper's networks against three recognisers at five views: samples a second."""
    both = pair(size)
    first = trainer(bench, size, both)
    judges, here = first.recognizers, both.to(bench.device)
    plain = published.PlainLoop(first, CORRECTED, judges, first.perceptual, here[:1])
    works = {"published": lambda: plain.step(here[:1], here[1:], torch.Generator().manual_seed(0))}
    samples = {"published": 1}
    for name, settings in (STEPS | GPU_STEPS if bench.device == "cuda" else STEPS).items():
        own, batch = trainer(bench, size, both, **settings), settings.get("batch", 1)
        source, reference = both[[0] * batch], both[[1] * batch]
        works[name] = lambda own=own, source=source, reference=reference: own.train_step(source, reference)
        samples[name] = batch
    taken, what = bench.seconds(works, 2), f"training step, {size} px"
    for name, seconds in taken.items():
        bench.note(what, name, "samples a second", samples[name] / seconds, 2)
        bench.note(what, name, "times as fast", samples[name] / seconds * taken["published"], 2)


STEP = """
import re, sys, torch
from benchmarks.bench import Bench, pair
from benchmarks.steps import SIZE, trainer
both = pair(SIZE)
own = {'checkpointing': sys.argv[1] == 'checkpointing', 'precision': sys.argv[2]}
trainer(Bench(sys.argv[3]), SIZE, both, **own).train_step(both[:1], both[1:])
if sys.argv[3] == 'cuda':
    print('measured', torch.cuda.max_memory_allocated() / 2**30)
else:
    print('measured', int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 2**20)
"""


def memory(bench: Bench) -> None:
    """Peak memory of one step at the paper's size and batch 1: of a process on a CPU (Linux), or of what a GPU gave."""
    for kind in ("float32", "bfloat16"):
        for way in ("plain", "checkpointing"):
            (gib,) = in_a_process(STEP, way, kind, bench.device)
            bench.note(f"training step, {SIZE} px, batch 1", f"{kind}, {way}", "peak GiB", gib)


def profile(bench: Bench, size: int, **settings) -> None:
    """Where the time of one training step goes, by operator, and how often it waits for the device."""
    both = pair(size)
    subject = trainer(bench, size, both, **settings)
    subject.train_step(both[:1], both[1:])
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if bench.device == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as trace:
        subject.launch(both[:1], both[1:])
    # An operator's device time is that of its kernels, which are events of their own, too: those are left out.
    on_host = torch.autograd.DeviceType.CPU
    events = {event.key: event for event in trace.key_averages() if event.device_type == on_host}
    own = {key: getattr(event, f"self_{SELF[bench.device]}_time_total") for key, event in events.items()}
    what, total = f"training step, {size} px, profile", sum(own.values())
    for key in sorted(own, key=own.get, reverse=True)[:10]:
        bench.note(what, key, "share of the time", own[key] / total)
    bench.note(what, "aten operators", "calls", sum(e.count for key, e in events.items() if key.startswith("aten::")))
    for key in WAITS if bench.device == "cuda" else ():
        bench.note(what, key, "calls", events[key].count if key in events else 0)
