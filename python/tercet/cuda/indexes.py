"""Indexes on a device: copies of what a FlatIndex or a MultiVectorIndex holds, to be searched there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tercet.arrays import as_float32, as_rows, as_tokens, check_dim
from tercet.cuda.candidates import Listed, check_candidates, listed_candidates
from tercet.cuda.dlpack import Tensor
from tercet.cuda.library import Documents, Rows, Search, Vectors, load
from tercet.cuda.memory import upload
from tercet.cuda.rows import FORMATS, DeviceIds, DeviceRows, id_order
from tercet.cuda.search import (
    GivenQueries,
    Output,
    check_capture,
    check_values,
    hold_tensors,
    host_queries,
    padded_groups,
    run,
    tensor_queries,
)
from tercet.cuda.streams import Stream, stream_of
from tercet.cuda.tensors import is_on_device
from tercet.scoring import check_integer, check_k
from tercet.types import Hits

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
        devices = load().devices()
        if not 0 <= self.device < devices:
            raise ValueError(f"device: expected 0 to {devices - 1}, got {self.device}")
        self._limit = index._native.limit()

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
            RuntimeError: the stream is being captured, and there is no ``out``, or something in host memory.
        """
        handle, count = stream_of(stream, self.device), check_k(k)
        check_capture(self.device, handle, out, queries)
        if is_on_device(queries):
            self._ids.check_on_device()
            given = tensor_queries(queries, "queries", self.dim, 2, self.device, handle)
            return self._run(given, count, handle, out).result
        self._check_no_out(out)
        rows = as_rows(queries, "queries")
        check_dim(rows, self.dim, "queries")
        if len(rows.data) == 0:
            raise ValueError("queries: expected at least one row, got none")
        values = np.ascontiguousarray(as_float32(rows).data)
        check_values(values, self._limit)
        given = host_queries(values, None, self.device, handle)
        return self._hits(self._run(given, count, handle, None))

    def _run(self, given: GivenQueries, k: int, stream: Stream, out: Any) -> Output:
        given.struct.normalised = self.metric == "cosine"
        output = Output((given.struct.count, k), out, self.device, stream, ids=True)
        search = Search(k=k, device=self.device)
        output.into(search)
        run("vectors", self._struct, given.struct, search, stream)
        hold_tensors(self.device, stream, given.keeper, *output.tensors)
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
            RuntimeError: the stream is being captured, and there is no ``out``, or something in host memory.
        """
        return self._answer(queries, None, check_k(k), stream, out)

    def rerank(self, queries: Any, candidates: Any, k: int, *, stream: Any = None, out: Any = None) -> Any:
        """Return the best ``k`` of each query's candidates by MaxSim over their stored tokens.

        Args:
            queries: as :meth:`search` takes them.
            candidates: hits from anywhere, one row per query; or :class:`DeviceHits`, or a CUDA tensor of ids
                ``int64[n, m]``, -1 where there is none. Of these ``m`` is up to 4096, and unknown ones do not
                count.
            k: how many, at most 2048; more than there are candidates leaves places unfilled.
            stream: as of :meth:`search`, and so ``out``.
            out: where results go.

        Raises:
            KeyError: hits that are not in this index.
            TypeError: candidates that are neither; and as :meth:`search`.
        """
        candidates = check_candidates(candidates)
        return self._answer(queries, candidates, check_k(k), stream, out)

    def _answer(self, queries: Any, candidates: Any, k: int, stream: Any, out: Any) -> Any:
        handle = stream_of(stream, self.device)
        inputs = (queries,) if candidates is None else (queries, candidates)
        check_capture(self.device, handle, out, *inputs)
        if is_on_device(queries):
            self._ids.check_on_device()
            given = tensor_queries(queries, "queries", self.dim, 3, self.device, handle)
            listed = listed_candidates(candidates, self._ids, given.struct.count, self.device, handle)
            return self._run(given, listed, k, handle, out).result
        self._check_no_out(out)
        tokens = as_tokens(queries, "queries")
        check_dim(tokens.rows, self.dim, "queries")
        if len(tokens) == 0:
            raise ValueError("queries: expected at least one text, got none")
        rows, offsets = as_float32(tokens.rows).data, tokens.offsets
        check_values(rows, self._limit)
        lengths = np.diff(offsets)
        if not lengths.all():
            raise ValueError(f"queries: query {np.argmin(lengths)} has no tokens")
        listed = listed_candidates(candidates, self._ids, len(tokens), self.device, handle)
        found = []
        for first, last in padded_groups(lengths, self.dim):
            begin, end = offsets[first], offsets[last]
            given = host_queries(rows[begin:end], offsets[first : last + 1] - begin, self.device, handle)
            found.append(self._hits(self._run(given, listed, k, handle, None, first)))
        return Hits(*(np.concatenate(x) for x in zip(*((x.ids, x.scores) for x in found), strict=True)))

    def _run(
        self,
        given: GivenQueries,
        listed: Listed,
        k: int,
        stream: Stream,
        out: Any,
        first: int = 0,
    ) -> Output:
        """Queue a search for queries, of whose candidates those of ``first`` are the first."""
        count = given.struct.count
        search = Search(k=k, device=self.device)
        output = Output((count, k), out, self.device, stream, ids=True)
        output.into(search)
        uploaded = None
        if isinstance(listed, Tensor):
            search.each, search.by_id = listed.shape[1], 1
            search.candidates = listed.pointer + first * search.each * 8
        elif listed is not None:
            uploaded = upload(listed[first : first + count], self.device, stream)
            search.candidates, search.each = uploaded.pointer, listed.shape[1]
        run("documents", self._struct, given.struct, search, stream)
        hold_tensors(self.device, stream, given.keeper, listed, *output.tensors)
        del uploaded  # until here: memory is given back in the order of the stream
        return output


def _code_rows(codes: npt.NDArray[np.uint8], rows: int) -> npt.NDArray[np.uint8]:
    """Return the codes of an index as rows, of which there may be none."""
    return codes.reshape(rows, -1) if rows else np.zeros((0, 1), np.uint8)
