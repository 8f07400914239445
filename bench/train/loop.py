"""The loop of both recipes: batches of groups, the pace of learning, what is kept and said on the way."""

from __future__ import annotations

import random
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any

import torch
from adapters import save


def batches(groups: list[dict[str, Any]], size: int, seed: int) -> Iterator[list[dict[str, Any]]]:
    """Yield batches of one source each, without end; a source comes up as often as it has groups."""
    rng = random.Random(seed)
    while True:
        made = []
        for source in sorted({g["source"] for g in groups}):
            own = [g for g in groups if g["source"] == source]
            rng.shuffle(own)
            made += [own[i : i + size] for i in range(0, len(own) - size + 1, size)]
        rng.shuffle(made)
        yield from made


def pace(step: int, steps: int, warm: int = 20) -> float:
    """Return the learning rate's factor: up in ``warm`` steps, then down in a line."""
    return min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))


def optimizer(parameters: list[dict[str, Any]], steps: int) -> tuple[Any, Any]:
    """Return AdamW over groups of parameters, each with its ``lr``, and its schedule."""
    made = torch.optim.AdamW(parameters, weight_decay=0.01)
    return made, torch.optim.lr_scheduler.LambdaLR(made, lambda step: pace(step, steps))


def learn(
    args: Namespace,
    kind: str,
    groups: list[dict[str, Any]],
    loss_of: Callable[[list[dict[str, Any]]], torch.Tensor],
    rates: list[dict[str, Any]],
    trained: dict[str, torch.Tensor],
    *,
    clipped: list[torch.Tensor] | None = None,
    note: Callable[[], str] = lambda: "",
) -> None:
    """Take ``args.steps`` steps, and write what was trained every ``args.keep_every`` and at the end.

    Args:
        args: of the command: ``steps``, ``batch``, ``seed``, ``keep_every`` and ``out`` are used, all kept.
        kind: of model, for the record.
        groups: what batches are made of.
        loss_of: what a batch costs.
        rates: groups of parameters, each with its ``lr``.
        trained: the tensors to write, by name, which change as they are learnt.
        clipped: parameters whose gradients together are to be at most 1 long.
        note: something more to say every ten steps.
    """
    learnt, schedule = optimizer(rates, args.steps)
    stream, begun, average = batches(groups, args.batch, args.seed), time.perf_counter(), 0.0
    for step in range(args.steps + 1):
        if step % args.keep_every == 0 or step == args.steps:
            about = {**vars(args), "groups": len(groups), "step": step, "kind": kind}
            save(args.out / f"step{step}", trained, {name: str(value) for name, value in about.items()})
        if step == args.steps:
            break
        loss = loss_of(next(stream))
        learnt.zero_grad()
        loss.backward()
        if clipped:
            torch.nn.utils.clip_grad_norm_(clipped, 1.0)
        learnt.step()
        schedule.step()
        average = loss.item() if step == 0 else 0.95 * average + 0.05 * loss.item()
        if step % 10 == 0:
            seconds = time.perf_counter() - begun
            print(f"step {step}: loss {average:.4f}{note()}, {seconds:.0f} s", flush=True)
