"""What indexes say that they take: the parts add up, and are what the files hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import container
import tercet
from tercet import MultiVectorIndex, SegmentedIndex, TokenVectors

DIM, SIZE = 16, 400
ROTATED = ("int4", "int2", "binary", "residual2", "residual1", "pq16")
RESIDUAL = ("residual2", "residual1", "pq16")
CODECS: list[Any] = ["float32", "bfloat16", "int8", *ROTATED]


def tokens(n: int = SIZE, seed: int = 0) -> TokenVectors:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 12, n)
    return TokenVectors(rng.standard_normal((lengths.sum(), DIM)).astype("f4"), np.cumsum([0, *lengths]))


def of_file(data: bytes, *names: str) -> int:
    sections = container.parse(data)[1]
    return sum(sections[name].nbytes for name in names if name in sections)


def codebook_bytes(data: bytes, name: str) -> int:
    """A codebook as it is in memory, where centroids have a bias, and the coarse ones are there too."""
    offsets = container.parse(data)[1].get(f"{name}_offsets")
    if offsets is None:
        return 0
    stored = of_file(data, f"{name}_codes", f"{name}_scales", f"{name}_offsets")
    return int(stored + 4 * offsets[-1] + (len(offsets) - 1) * (DIM + 6))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("ids", ["int", "str"])
def test_the_parts_are_those_of_the_file(codec: Any, ids: str, tmp_path: Path) -> None:
    index = MultiVectorIndex(DIM, codec=codec)
    index.train(tokens(), centroids=32)
    names = [f"{i} of the documents with long ids" for i in range(SIZE)] if ids == "str" else None
    index.add(tokens(), names)
    index.save(tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    for one in (index, tercet.open(tmp_path / "x")):
        stats = one.stats()
        parts = stats["bytes"]
        assert sum(parts.values()) == stats["nbytes"] == one.nbytes
        assert stats["bytes_per_token"] == one.nbytes / len(tokens().values)
        assert parts["codes"] == of_file(data, "codes")
        assert parts["scales"] == of_file(data, "scales")
        assert parts["centroids"] == of_file(data, "centroids")
        book = codebook_bytes(data, "codebook") + codebook_bytes(data, "list_codebook")
        learned = of_file(data, "codec_parameters")  # in memory in several orders
        assert book + learned <= parts["codebook"] <= book + 4 * learned
        assert parts["lists"] == of_file(data, "list_offsets", "list_gaps", "unlisted")
        assert parts["documents"] == SIZE * (16 + 8)  # of the file: 8 each
        stored = of_file(data, "ids") if names is None else of_file(data, "id_bytes") + SIZE * (1 + 32)
        assert stored + 4 * SIZE < parts["ids"] < stored + 10 * SIZE
    # All of the file is in a part, in the settings, or in the directory.
    sections = container.parse(data)[1]
    named = sum(container.aligned(array.nbytes) for array in sections.values())
    assert len(data) - named <= 64 + 100 * (len(sections) + 2) + 64 * 2


@pytest.mark.parametrize("codec", ["int4", "residual2"])
def test_of_segments(codec: Any, tmp_path: Path) -> None:
    book = tercet.train_codebook(tokens(), codec=codec, dim=DIM) if codec in RESIDUAL else None
    with SegmentedIndex.create(tmp_path / "x", DIM, codec=codec, codebook=book) as index:
        for first in range(0, 3 * SIZE, SIZE):
            index.add(tokens(seed=first), range(first, first + SIZE))
            index.commit()
        index.remove(range(100, SIZE + 100, 2))
        index.add(tokens(5), range(9000, 9005))
        waiting = index.stats()["per_segment"][-1]
        assert (waiting["file"], waiting["size"], waiting["file_bytes"]) == (None, 5, 0)
    opened = SegmentedIndex.open(tmp_path / "x")
    stats = opened.stats()
    parts, each = stats["bytes"], stats["per_segment"]
    assert sum(parts.values()) == stats["nbytes"] == opened.nbytes
    assert stats["bytes_per_token"] == opened.nbytes / opened.num_tokens
    files = {name: (tmp_path / "x" / name).stat().st_size for name in os.listdir(tmp_path / "x")}
    assert stats["file_bytes"] == sum(files.values()) - files["writer.lock"]
    assert [one["removed"] for one in each] == [150, 50, 0, 0]
    assert [one["size"] for one in each] == [250, 350, 400, 5]
    shared = 0 if book is None else book.nbytes
    assert sum(one["nbytes"] for one in each) + shared == opened.nbytes
    assert sum(one["tokens"] for one in each) == opened.num_tokens
    assert [one["file_bytes"] for one in each] == [
        files[one["file"]] + 50 * (i < 2) for i, one in enumerate(each)
    ]
    assert parts["tombstones"] == 2 * SIZE
    assert parts["codebook"] == shared
    assert parts["codes"] == sum(
        of_file((tmp_path / "x" / one["file"]).read_bytes(), "codes") for one in each
    )
    empty = SegmentedIndex.create(tmp_path / "empty", DIM, codec=codec, codebook=book)
    assert (empty.nbytes, empty.stats()["bytes_per_token"]) == (shared, 0)
