"""One vector per token: late interaction."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from itertools import takewhile
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tercet.explain import Role, Token
from tercet.models.biencoder import BiEncoder
from tercet.models.checkpoint import late_interaction_format
from tercet.models.fingerprint import content_hash
from tercet.models.loading import load, max_length, sentence_transformers
from tercet.models.precision import Precision, choose_precision, inference
from tercet.models.texts import check_texts, progress_bar, slabs
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
            and length limits. Any other model is refused: it would get a random projection.
        device: ``"cpu"``, ``"cuda"``, ``"mps"``, ...; None leaves the choice to sentence-transformers. On the
            CPU weights are float32 whatever the checkpoint holds.
        batch_size: texts per forward pass.
        precision: what the model computes documents in; None is the dtype of its weights. ``"auto"`` is
            bfloat16 on a CPU that multiplies it (AVX512_BF16), which is much faster there, and float32 on
            another: vectors then differ a little between machines. Queries are few, and stay float32.
        options: further keyword arguments of ``MultiVectorEncoder`` (``revision``, ``trust_remote_code``,
            ...), only for a name or a directory.

    Attributes:
        model: the ``MultiVectorEncoder``.
        name: what was given (a directory as its absolute path), or what a loaded model was loaded from.
        precision: ``"float32"`` or ``"bfloat16"`` (or another dtype of weights on an accelerator).

    Raises:
        ImportError: sentence-transformers is not installed.
        FileNotFoundError: no model under that name.
        TypeError: ``model`` is none of the above.
        ValueError: the checkpoint is no late-interaction model; says what it is.
    """

    def __init__(
        self,
        model: Any,
        *,
        device: str | None = None,
        batch_size: int = 32,
        precision: Precision | None = None,
        **options: Any,
    ) -> None:
        if isinstance(model, (str, os.PathLike)):
            late_interaction_format(os.fspath(model), options)
        self.model, self.name = load("MultiVectorEncoder", model, device, options)
        self.batch_size = batch_size
        self.precision = choose_precision(precision, self.model)
        self._kind = "ColBERT"

    @classmethod
    def from_biencoder(
        cls,
        model: Any = None,
        *,
        device: str | None = None,
        batch_size: int = 32,
        precision: Precision | None = None,
        **options: Any,
    ) -> ColBERT:
        """Use the token vectors of an ordinary bi-encoder, before pooling, scaled to length 1.

        Nobody trained them for MaxSim, yet they often rank better than the pooled vector of the same model.
        Every token is kept, the special ones too, and queries are not expanded.

        Args:
            model: a :class:`BiEncoder`, or whatever one takes; None is the packaged all-MiniLM-L6-v2.
            device: as for :class:`BiEncoder`.
            batch_size: texts per forward pass.
            precision: as for :class:`ColBERT`.
            options: as for :class:`BiEncoder`.

        Raises:
            ValueError: the model pools no token vectors (a static embedding, for example).
        """
        library = sentence_transformers()
        if isinstance(model, BiEncoder):
            bi, model = model, model.model
        else:
            bi = BiEncoder(model, device=device, batch_size=batch_size, **options)
        stages = library.sentence_transformer.modules
        before = list(takewhile(lambda stage: not isinstance(stage, stages.Pooling), bi.model))
        if not before or len(before) == len(bi.model):
            found = [type(stage).__name__ for stage in bi.model]
            raise ValueError(f"{bi.name}: expected a model that pools token vectors, found modules {found}")
        tokens = library.MultiVectorEncoder(
            modules=[
                *before,
                library.multi_vector_encoder.modules.MultiVectorMask(),
                stages.Normalize(module_input_name="token_embeddings"),
            ],
            device=device or str(bi.model.device),
            prompts=bi.model.prompts,
            default_prompt_name=bi.model.default_prompt_name,
        )
        self = cls(tokens, batch_size=batch_size, precision=precision)
        self.name, self._kind = bi.name, "ColBERT.from_biencoder"
        return self

    @cached_property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        # Asked of the output: the modules name the backbone's width where the head is inside the backbone
        return int(self.model.encode_query("a").shape[1])

    def encode_query(self, texts: str | Iterable[str], *, progress: bool | None = None) -> TokenVectors:
        """Return the float32 token vectors of each query, with expansion tokens where the model has them.

        Args:
            texts: the queries; a single ``str`` is a batch of one.
            progress: show a bar on stderr; None does so for many texts on a terminal.

        Raises:
            TypeError: an item is no ``str``; names its index and type.
        """
        return self._encode("queries", texts, progress)

    def encode_document(self, texts: str | Iterable[str], *, progress: bool | None = None) -> TokenVectors:
        """Return the float32 token vectors of each document, without the tokens that the model skips.

        Arguments and errors as :meth:`encode_query`. Memory: the result, and a slab of texts at a time.
        """
        return self._encode("documents", texts, progress)

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
            ValueError: an unknown kind, or a model that pools tokens, so that a row is no token.
        """
        if not isinstance(text, str):
            raise TypeError(f"text: expected str, got {type(text).__name__}")
        if kind not in ("query", "document"):
            raise ValueError(f"kind: expected 'query' or 'document', got {kind!r}")
        encode = self.model.encode_query if kind == "query" else self.model.encode_document
        features = encode(text, output_value=None, show_progress_bar=False)
        ids, scored = features["input_ids"], features["attention_mask"].bool()
        if ids.shape != scored.shape:
            raise ValueError(f"{self.name}: this model pools tokens, so its rows are not tokens")
        names = self.model.tokenizer.convert_ids_to_tokens(ids.tolist())
        named = zip(names, self._roles(features), scored.tolist(), strict=True)
        return [Token(name, role) for name, role, kept in named if kept]

    def fingerprint(self) -> dict[str, Any]:
        """Return a record of the model that ``json`` can write.

        ``content`` alone says whether two models give the same vectors; see :meth:`BiEncoder.fingerprint`.

        Keys: ``kind`` (``"ColBERT"`` or ``"ColBERT.from_biencoder"``, the way to make it again), ``name``,
        ``dim``, ``max_length`` (tokens of a document that are read), ``content``.
        """
        return {
            "kind": self._kind,
            "name": self.name,
            "dim": self.dim,
            "max_length": getattr(self.model[0], "document_length", None) or max_length(self.model),
            "content": content_hash(self.model, {"dim": self.dim}),
        }

    def _roles(self, features: dict[str, Any]) -> list[Role]:
        """Return what each token of an encoded text is there for."""
        tokenizer = self.model.tokenizer
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}  # which stands for text
        opening = (tokenizer.cls_token_id, tokenizer.bos_token_id)
        prompt = features.get("prompt_length", 0)
        ids = features["input_ids"].tolist()
        expanded = features.get("query_expansion_positions")
        expansion = [False] * len(ids) if expanded is None else expanded.bool().tolist()
        return [
            "expansion" if added
            else "" if id not in special
            else "marker" if place < prompt and id not in opening
            else "special"
            for place, (id, added) in enumerate(zip(ids, expansion, strict=True))
        ]  # fmt: skip

    def _encode(
        self, label: Literal["queries", "documents"], texts: str | Iterable[str], progress: bool | None
    ) -> TokenVectors:
        documents = label == "documents"
        encode = self.model.encode_document if documents else self.model.encode_query
        listed = check_texts(texts)
        rows = TokenRows(len(listed), self.dim)
        # Scaled to length 1 and then rounded, they are up to half a percent longer or shorter
        normalize = sentence_transformers().sentence_transformer.modules.Normalize
        rounded = documents and self.precision == "bfloat16" and isinstance(self.model[-1], normalize)
        with (
            inference(self.model, self.precision if documents else None),
            progress_bar(len(listed), f"Encoding {label}", progress) as advance,
        ):
            for part in slabs(listed, most=16 * self.batch_size, characters=1 << 20):
                slab = listed[part]
                parts = encode(
                    slab, batch_size=self.batch_size, convert_to_numpy=True, show_progress_bar=False
                )
                rows.extend([_unit(vectors) for vectors in parts] if rounded else parts)
                advance(len(slab))
        return rows.finish()

    def __repr__(self) -> str:
        return f"{self._kind}({self.name!r}, dim={self.dim}, device={str(self.model.device)!r})"


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return rows scaled to length 1."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))
    unit: npt.NDArray[np.float32] = rows / lengths
    return unit
