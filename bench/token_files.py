"""Token vectors on disk: arrays to be mapped, written in parts, for sets that are larger than memory.

A folder holds, where KIND is ``documents`` or ``queries``,

    KIND_tokens.npy           float16 or float32 [tokens, dim]
    KIND_offsets.npy          int64 [texts + 1]; text i owns rows offsets[i]:offsets[i + 1]
    documents_vocabulary.npy  uint32 [tokens]: the number of each row's token in the model's vocabulary
    grades.json               for every query, the grades of documents by their position

Needs numpy alone: contenders read it in environments of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tokens:
    """Token vectors of texts, one after the other; ``vocabulary`` where it is known."""

    values: np.ndarray
    offsets: np.ndarray
    vocabulary: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def between(self, first: int, last: int) -> Tokens:
        """Return the texts ``first:last``."""
        rows = slice(self.offsets[first], self.offsets[last])
        words = None if self.vocabulary is None else self.vocabulary[rows]
        return Tokens(self.values[rows], self.offsets[first : last + 1] - rows.start, words)

    def parts(self, most: int) -> Iterator[Tokens]:
        """Cut into runs of texts of at most ``most`` tokens, if each text has no more."""
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.offsets, self.offsets[first] + most, "right")) - 1
            last = min(max(first + 1, last), len(self))
            yield self.between(first, last)
            first = last


def complete(folder: Path, kind: str) -> bool:
    return (folder / f"{kind}_offsets.npy").exists()  # which is written last


def read(folder: Path, kind: str, texts: int | None = None) -> Tokens:
    """Map a set, or the first of its texts."""

    def mapped(name: str) -> np.ndarray:
        return np.load(folder / f"{kind}_{name}.npy", mmap_mode="r")

    words = mapped("vocabulary") if (folder / f"{kind}_vocabulary.npy").exists() else None
    tokens = Tokens(mapped("tokens"), np.load(folder / f"{kind}_offsets.npy"), words)
    return tokens if texts is None else tokens.between(0, min(texts, len(tokens)))


def read_grades(folder: Path) -> list[dict[str, int]]:
    grades: list[dict[str, int]] = json.loads((folder / "grades.json").read_text())
    return grades


def write_grades(folder: Path, grades: list[dict[str, int]]) -> None:
    (folder / "grades.json").write_text(json.dumps(grades))


class GrowingArray:
    """An .npy file that takes rows until it is closed, and only then has its name."""

    def __init__(self, path: Path, dtype: Any, row: tuple[int, ...] = ()) -> None:
        self._path, self._dtype, self._row, self._length = path, np.dtype(dtype), row, 0
        self._file = path.with_suffix(".partial").open("wb")
        self._write_header()

    def append(self, rows: np.ndarray) -> None:
        np.ascontiguousarray(rows, self._dtype).tofile(self._file)
        self._length += len(rows)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self.abandon()
        Path(self._file.name).rename(self._path)

    def abandon(self) -> None:
        self._file.close()

    def _write_header(self) -> None:
        # numpy leaves room for a longer length, so that a second header takes the place of the first
        descr = np.lib.format.dtype_to_descr(self._dtype)
        shape = (self._length, *self._row)
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class TokenWriter:
    """Writes the texts of one kind, in parts; what is left by an error does not count as a set.

    with TokenWriter(folder, "documents", 128) as out:
        out.add(part)
    """

    def __init__(self, folder: Path, kind: str, dim: int, *, vocabulary: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._offsets = [np.zeros(1, np.int64)]
        self._offsets_path = folder / f"{kind}_offsets.npy"
        self._values = GrowingArray(folder / f"{kind}_tokens.npy", np.float16, (dim,))
        self._words = GrowingArray(folder / f"{kind}_vocabulary.npy", np.uint32) if vocabulary else None
        self.written = 0

    def add(self, part: Tokens) -> None:
        self._values.append(part.values)
        if self._words:
            self._words.append(part.vocabulary)
        self._offsets.append(self.written + part.offsets[1:])
        self.written += len(part.values)

    def __enter__(self) -> TokenWriter:
        return self

    def __exit__(self, failed: Any, *_: Any) -> None:
        arrays = [self._values, self._words] if self._words else [self._values]
        for array in arrays:
            (array.abandon if failed else array.close)()
        if not failed:
            np.save(self._offsets_path, np.concatenate(self._offsets))
