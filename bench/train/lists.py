"""Lists to learn from, as teacher.py makes them: batches of queries, each with some of its documents."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

ANSWER = 1.0  # what it is worth, in standard deviations of the teacher, to be known as an answer
SHARES = ((0, 12, 0.4), (12, 40, 0.3), (40, 96, 0.2), (96, 128, 0.1))  # of ranks by the teacher in a list


class Batch(NamedTuple):
    """Queries, and documents of each: texts by number, and what is thought of them, ``[queries, size]``."""

    queries: list[int]
    documents: list[int]
    teacher: torch.Tensor
    answers: torch.Tensor


def padded(rows: Sequence[Sequence[int]], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids ``[texts, longest]``, rounded up to whole eights, and where there are any."""
    longest = -(-max(map(len, rows)) // 8) * 8
    ids = np.zeros((len(rows), longest), np.int64)
    held = np.zeros((len(rows), longest), np.bool_)
    for row, own in enumerate(rows):
        ids[row, : len(own)] = own
        held[row, : len(own)] = True
    return torch.from_numpy(ids).to(device), torch.from_numpy(held).to(device)


def tokenised(tokenizer: Any, texts: list[str], most: int) -> list[np.ndarray]:
    """Return token ids of each text, markers included."""
    return [np.array(ids) for ids in tokenizer(texts, truncation=True, max_length=most)["input_ids"]]


class Lists:
    """All sources together: texts in one row, and of each query documents by what the teacher thinks."""

    def __init__(self, texts: Path, lists: Path) -> None:
        with lzma.open(texts, "rt", encoding="utf-8") as file:
            held = json.load(file)
        self.development: dict[str, Any] = held["development"]
        self.queries: list[str] = []
        self.documents: list[str] = []
        listed, taught, answers = [], [], []
        for name, made in torch.load(lists).items():
            source = held["training"][name]
            teacher = made["teacher"].float() + ANSWER * made["answers"]
            teacher, order = teacher.sort(1, descending=True)
            listed.append(made["documents"].gather(1, order) + len(self.documents))
            answers.append(made["answers"].gather(1, order))
            taught.append(teacher)
            self.queries += [query["text"] for query in source["queries"][: len(teacher)]]
            self.documents += source["documents"]
        self.listed, self.taught, self.answers = (torch.cat(x) for x in (listed, taught, answers))

    def batches(self, size: int, documents: int, seed: int) -> Iterator[Batch]:
        """Yield batches without end; documents of a query are drawn by SHARES, the best more often."""
        if len(self.queries) <= size:
            raise ValueError(f"{len(self.queries)} queries are too few for batches of {size}")
        generator = torch.Generator().manual_seed(seed)
        chance = torch.zeros(self.listed.shape[1])
        for first, last, share in SHARES:
            chance[first:last] = share / (last - first)
        while True:
            for rows in torch.randperm(len(self.queries), generator=generator).split(size)[
                :-1
            ]:  # the last may be smaller
                usable = chance * (self.taught[rows] > -1e3) + 1e-9
                chosen = torch.multinomial(usable, documents, generator=generator)
                yield Batch(
                    rows.tolist(),
                    self.listed[rows].gather(1, chosen).flatten().tolist(),
                    self.taught[rows].gather(1, chosen),
                    self.answers[rows].gather(1, chosen),
                )
