"""Several processes train one generator: each takes its part of every batch, and the gradients are averaged.

What a step draws (data, noise, targets) it draws for the whole batch in every process, which then keeps its own part:
so two processes take the very step that one would take with the same batch, and a checkpoint fits any number of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as group
from torch import Tensor

Items = TypeVar("Items", bound="Sequence | Tensor")


class GroupError(Exception):
    """The processes cannot train together."""


class Share(NamedTuple):
    """What this process has of every batch: part ``rank`` of ``size`` equal ones."""

    rank: int = 0
    size: int = 1

    def of(self, batch: Items) -> Items:
        """Its own part; ValueError without equal parts, since the mean of means would not be that of the batch."""
        if len(batch) % self.size:
            raise ValueError(f"batch is {len(batch)}, which {self.size} processes cannot share evenly: take a multiple")
        own = len(batch) // self.size
        return batch[self.rank * own : (self.rank + 1) * own]


def share() -> Share:
    """That of this process in the group that is open, or all of every batch."""
    if group.is_available() and group.is_initialized():
        return Share(group.get_rank(), group.get_world_size())
    return Share()


@contextmanager
def process_group(device: str = "cpu") -> Iterator[Share]:
    """The group that torchrun started this process in (gloo, on GPUs NCCL); outside torchrun the process is alone.

    On ``device`` "cuda" each process takes a GPU of its own, and "cuda" means that one from here on.
    """
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= os.environ.keys():
        yield Share()
        return
    on_gpu, own = torch.device(device).type == "cuda", int(os.environ["LOCAL_RANK"])
    if on_gpu and own >= torch.cuda.device_count():
        raise GroupError(f"process {own} of this machine finds {torch.cuda.device_count()} GPUs: start one per GPU")
    if on_gpu:
        torch.cuda.set_device(own)
    group.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield share()
        # Waiting lets gloo's threads give up the tensors of the last message: one that still holds them when Python
        # ends aborts the process (pytorch/pytorch#179291).
        group.barrier()
    finally:
        group.destroy_process_group()


def averaged(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The mean over all processes of each tensor, in one message; None, which it must be in all of them, stays."""
    count = share().size
    present = [tensor for tensor in tensors if tensor is not None]
    if count == 1 or not present:
        return list(tensors)
    flat = torch.cat([tensor.flatten() for tensor in present])
    group.all_reduce(flat)
    parts = iter((flat / count).split([tensor.numel() for tensor in present]))
    # The optimizer reads gradients in the order in which they lie in memory: that stays as it was.
    return [None if old is None else torch.empty_like(old).copy_(next(parts).view_as(old)) for old in tensors]


def check_same(step: int, parameters: Sequence[Tensor]) -> None:
    """GroupError unless all processes are at one step with the same weights, which they hold without exchanging them.

    A checkpoint that one machine reads from an outdated copy would otherwise part them without a word.
    """
    if share().size == 1:
        return
    total = torch.stack([parameter.detach().double().abs().sum() for parameter in parameters]).sum()
    lowest = torch.stack([total, total.new_tensor(step)])
    highest = lowest.clone()
    group.all_reduce(lowest, group.ReduceOp.MIN)
    group.all_reduce(highest, group.ReduceOp.MAX)
    if not torch.equal(lowest, highest):
        steps = f"steps {int(lowest[1])} and {int(highest[1])}"
        raise GroupError(f"the processes do not hold the same weights ({steps}): let all of them read one checkpoint")
