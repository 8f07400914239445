"""Indexes on a device: copies of what a FlatIndex or a MultiVectorIndex holds, to be searched there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tercet.arrays import as_float32, as_rows, as_tokens, check_dim
from tercet.cuda.library import Documents, Rows, Search, Vectors, load
from tercet.cuda.memory import Held, upload
from tercet.cuda.rows import FORMATS, DeviceIds, DeviceRows, id_order
from tercet.cuda.search import (
    GivenQueries,
    Output,
    hold_tensors,
    host_queries,
    run,
    tensor_queries,
)
from tercet.cuda.tensors import as_tensor, is_on_device, stream_of
from tercet.scoring import check_integer, check_k
from tercet.types import Hits, check_hits

if TYPE_CHECKING:
    from tercet.indexes import FlatIndex, MultiVectorIndex

__all__ = ["DeviceFlatIndex", "DeviceMultiVectorIndex"]


class _DeviceIndex:
    """What both share: ids, sizes, results."""

    _ids: DeviceIds
    _rows: DeviceRows

    def __init__(self, index: FlatIndex | MultiVectorIndex, device: int) -> None:
        self.device = check_integer(device, "device")
        self.dim, self.codec = index.dim, index.codec
        self._held = Held(self.device)
        load()

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._ids)

    @property
    def nbytes(self) -> int:
        """Bytes on the device; workspaces of calls come on top."""
        return self._rows.nbytes + self._ids.nbytes

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"{kind}(dim={self.dim}, codec={self.codec!r}, size={len(self)}, device={self.device})"

    @staticmethod
    def _check_no_out(out: Any) -> None:
        if out is not None:
            raise ValueError("out: goes with queries on the device; results of others come to the host")

    def _hits(self, output: Output) -> Hits:
        ids, scores = output.result
        return Hits(self._ids.named(ids.numpy()), scores.numpy())


class DeviceFlatIndex(_DeviceIndex):
    """A FlatIndex as it was when ``index.to_device()`` copied it, in the memory of a CUDA device.

    Results are those of the index, ids and scores, bit for bit; with codec ``"bfloat16"`` the last places of
    scores depend on the device, whose instruction adds in an order of its own.
    """

    def __init__(self, index: FlatIndex, device: int = 0) -> None:
        super().__init__(index, device)
        if index.metric == "l2" or index.rescore is not None:
            what = "metric 'l2'" if index.metric == "l2" else "rescoring"
            raise ValueError(f"a device has no {what} yet; expected metric 'cosine' or 'dot' without rescore")
        self.metric = index.metric
        sections = index._native.arrays(["ids", "id_bytes", "id_offsets", "codes", "scales"])
        ids, order = id_order(sections)
        in_order = bool((np.diff(order) == 1).all())
        form = FORMATS[self.codec]
        self._rows = DeviceRows(
            form,
            self.dim,
            self.device,
            _code_rows(sections["codes"], len(ids)),
            scales=sections.get("scales"),
            order=None if in_order else order,
        )
        self._ids = DeviceIds(ids, self.device)
        self._struct = Vectors(self._rows.struct, self._ids.pointer, index.seed)

    def search(self, queries: Any, k: int = 10, *, stream: Any = None, out: Any = None) -> Any:
        """Return the best ``k`` of every query.

        Args:
            queries: ``[n, dim]`` or ``[dim]``. A CUDA tensor, float32, bfloat16 or float16, is read where it
                is; its values are not checked, and those that are not finite make scores of that query
                worthless. Anything else is taken as :meth:`tercet.FlatIndex.search` takes it.
            k: how many, at most 2048; more than there are leaves places unfilled.
            stream: a handle or an object of torch, cupy or others; by default torch's current stream, if
                torch is in use, else the default stream.
            out: for CUDA tensors, ids ``int64[n, k]`` and scores ``float32[n, k]`` to write to, for example
                while a graph is captured.

        Returns:
            Of a CUDA tensor :class:`DeviceHits`, or ``out``: on the device, and computed when the stream
            comes to it. Of queries in host memory :class:`tercet.Hits`.

        Raises:
            ValueError: wrong dimensions, another device, ``k`` beyond 2048.
            TypeError: another dtype; a CUDA tensor where ids are strings.
            RuntimeError: the stream is being captured, and the call needs memory that it does not have yet.
        """
        handle, count = stream_of(stream, self.device), check_k(k)
        if is_on_device(queries):
            self._ids.check_on_device()
            given = tensor_queries(queries, "queries", self.dim, 2, self.device, handle)
            return self._run(given, count, handle, out).result
        self._check_no_out(out)
        rows = as_rows(queries, "queries")
        check_dim(rows, self.dim, "queries")
        if len(rows.data) == 0:
            raise ValueError("queries: expected at least one row, got none")
        given = host_queries(np.ascontiguousarray(as_float32(rows).data), None, self.device, handle)
        return self._hits(self._run(given, count, handle, None))

    def _run(self, given: GivenQueries, k: int, stream: int, out: Any) -> Output:
        given.struct.normalised = self.metric == "cosine"
        output = Output((given.struct.count, k), out, self.device, stream, ids=True)
        search = Search(k=k, device=self.device)
        output.into(search)
        run("vectors", self._struct, given.struct, search, stream)
        hold_tensors(self._held, stream, given.keeper, *output.tensors)
        return output


class DeviceMultiVectorIndex(_DeviceIndex):
    """A MultiVectorIndex as it was when ``index.to_device()`` copied it, in the memory of a CUDA device.

    Searches compare with every document. Results are those of the index with ``exact=True``, ids and scores,
    bit for bit; with codec ``"bfloat16"`` the last places of scores depend on the device.
    """

    def __init__(self, index: MultiVectorIndex, device: int = 0) -> None:
        super().__init__(index, device)
        if self.codec not in FORMATS:
            raise ValueError(f"codec: {self.codec!r} has no kernels on a device")
        names = ["ids", "id_bytes", "id_offsets", "offsets", "codes", "scales", "centroids"]
        sections = index._native.arrays([*names, "codebook_codes", "codebook_scales"])
        ids, order = id_order(sections)
        offsets = sections["offsets"]
        self._bounds = [upload(offsets[order + i], self.device) for i in (0, 1)]
        self._rows = DeviceRows(
            FORMATS[self.codec],
            self.dim,
            self.device,
            _code_rows(sections["codes"], int(offsets[-1])),
            scales=sections.get("scales"),
            centroids=sections.get("centroids"),
        )
        self._codebook: DeviceRows | None = None
        if "codebook_codes" in sections:
            codes, scales = sections["codebook_codes"], sections["codebook_scales"]
            codes = codes.reshape(len(scales), self.dim)
            self._codebook = DeviceRows(FORMATS["int8"], self.dim, self.device, codes, scales=scales)
        self._ids = DeviceIds(ids, self.device)
        self._struct = Documents(
            self._rows.struct,
            Rows() if self._codebook is None else self._codebook.struct,
            self._bounds[0].pointer,
            self._bounds[1].pointer,
            None,
            self._ids.pointer,
            index.seed,
            len(ids),
            0,
        )

    @property
    def nbytes(self) -> int:
        """Bytes on the device; workspaces of calls come on top."""
        codebook = 0 if self._codebook is None else self._codebook.nbytes
        return super().nbytes + sum(bounds.bytes for bounds in self._bounds) + codebook

    def search(self, queries: Any, k: int = 10, *, stream: Any = None, out: Any = None) -> Any:
        """Return the best ``k`` documents of every query by MaxSim.

        Args:
            queries: ``[n, tokens, dim]`` or ``[tokens, dim]``. A CUDA tensor, float32, bfloat16 or float16,
                is read where it is; all its tokens count, and its values are not checked. Anything else is
                taken as :meth:`tercet.MultiVectorIndex.search` takes it.
            k: how many, at most 2048; more than there are leaves places unfilled.
            stream: as of :meth:`DeviceFlatIndex.search`, and so ``out``.
            out: where results go.

        Returns:
            Of a CUDA tensor :class:`DeviceHits`, or ``out``; of queries in host memory :class:`tercet.Hits`.

        Raises:
            ValueError: wrong dimensions, another device, a query without tokens, ``k`` beyond 2048.
            TypeError: another dtype; a CUDA tensor where ids are strings.
            RuntimeError: the stream is being captured, and the call needs memory that it does not have yet.
        """
        return self._answer(queries, None, check_k(k), stream, out)

    def rerank(self, queries: Any, candidates: Any, k: int, *, stream: Any = None, out: Any = None) -> Any:
        """Return the best ``k`` of each query's candidates by MaxSim over their stored tokens.

        Args:
            queries: as :meth:`search` takes them.
            candidates: hits from anywhere, one row per query; or a CUDA tensor of ids ``int64[n, m]``, -1
                where there is none, with ``m`` up to 4096, of which unknown ones do not count.
            k: how many, at most 2048; more than there are candidates leaves places unfilled.
            stream: as of :meth:`search`, and so ``out``.
            out: where results go.

        Raises:
            KeyError: hits that are not in this index.
        """
        return self._answer(queries, candidates, check_k(k), stream, out)

    def _answer(self, queries: Any, candidates: Any, k: int, stream: Any, out: Any) -> Any:
        handle = stream_of(stream, self.device)
        if is_on_device(queries):
            self._ids.check_on_device()
            given = tensor_queries(queries, "queries", self.dim, 3, self.device, handle)
            return self._run(given, candidates, k, handle, out).result
        self._check_no_out(out)
        tokens = as_tokens(queries, "queries")
        check_dim(tokens.rows, self.dim, "queries")
        if len(tokens) == 0:
            raise ValueError("queries: expected at least one text, got none")
        if candidates is not None and not is_on_device(candidates):
            check_hits(candidates, tokens, "candidates")
        given = host_queries(as_float32(tokens.rows).data, tokens.offsets, self.device, handle)
        return self._hits(self._run(given, candidates, k, handle, None))

    def _run(self, given: GivenQueries, candidates: Any, k: int, stream: int, out: Any) -> Output:
        count = given.struct.count
        search = Search(k=k, device=self.device)
        listed: Any = None
        if is_on_device(candidates):
            self._ids.check_on_device()
            listed = as_tensor(candidates, "candidates", self.device, stream, ("int64",))
            if len(listed.shape) != 2 or listed.shape[0] != count or listed.shape[1] < 1:
                raise ValueError(f"candidates: expected shape [{count}, m], got {list(listed.shape)}")
            search.candidates, search.each, search.by_id = listed.pointer, listed.shape[1], 1
        elif candidates is not None:
            numbers = self._numbers(candidates, count)
            listed = upload(numbers, self.device, stream)
            search.candidates, search.each = listed.pointer, numbers.shape[1]
        output = Output((count, k), out, self.device, stream, ids=True)
        output.into(search)
        run("documents", self._struct, given.struct, search, stream)
        hold_tensors(self._held, stream, given.keeper, listed, *output.tensors)
        return output

    def _numbers(self, candidates: Any, queries: int) -> npt.NDArray[np.int64]:
        """Return the numbers of hits, of each query ascending, each once, and -1 behind them."""
        if not isinstance(candidates, Hits) or len(candidates) != queries:
            raise ValueError(f"candidates: expected hits of {queries} queries, got {candidates!r}")
        rows = self._ids.numbers([[hit.id for hit in hits] for hits in candidates])
        numbers = np.full((queries, max(1, *map(len, rows))), -1, np.int64)
        for row, found in zip(numbers, rows, strict=True):
            row[: len(found)] = found
        return numbers


def _code_rows(codes: npt.NDArray[np.uint8], rows: int) -> npt.NDArray[np.uint8]:
    """Return the codes of an index as rows, of which there may be none."""
    return codes.reshape(rows, -1) if rows else np.zeros((0, 1), np.uint8)
