"""The loop of both recipes: the pace of learning, what is kept and said on the way."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from lists import Batch
from safetensors.torch import save_file


def pace(step: int, steps: int, warm: int = 100) -> float:
    """Return the learning rate's factor: up in ``warm`` steps, then down in a line."""
    return min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))


def save(path: Path, tensors: dict[str, torch.Tensor], about: dict[str, str]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    halves = {name: tensor.detach().half().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(halves, path / "updates.safetensors")
    (path / "run.json").write_text(json.dumps(about, indent=2))


def learn(
    args: Namespace,
    kind: str,
    batches: Iterator[Batch],
    loss_of: Callable[[Batch], torch.Tensor],
    rates: list[tuple[list[torch.nn.Parameter], float]],
    trained: dict[str, torch.Tensor],
    judge: Callable[[], str],
) -> None:
    """Take ``args.steps`` steps; every ``args.keep_every`` and at the end, judge and write what was trained.

    Args:
        args: of the command: ``steps``, ``keep_every`` and ``out`` are used, all are kept.
        kind: of model, for the record.
        batches: what to learn from.
        loss_of: what a batch costs.
        rates: parameters, and how fast they learn.
        trained: the tensors to write, by name, which change as they are learnt.
        judge: nDCG@10 of development, as a line.
    """
    parameters = [{"params": listed, "lr": rate} for listed, rate in rates]
    learnt = torch.optim.AdamW(parameters, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(learnt, lambda step: pace(step, args.steps))
    begun, average = time.perf_counter(), torch.zeros(())
    every = [p for listed, _ in rates for p in listed]
    for step in range(args.steps + 1):
        if step % args.keep_every == 0 or step == args.steps:
            about = {**vars(args), "step": step, "kind": kind}
            save(args.out / f"step{step}", trained, {name: str(value) for name, value in about.items()})
            print(f"{kind} {step}: {judge()}", flush=True)
        if step == args.steps:
            break
        loss = loss_of(next(batches))
        learnt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(every, 1.0)
        learnt.step()
        schedule.step()
        average = loss.detach() if step == 0 else average.lerp(loss.detach(), 0.02)
        if step % 100 == 0:
            seconds = time.perf_counter() - begun
            print(f"{kind} step {step}: loss {average.item():.4f}, {seconds:.0f} s", flush=True)
