"""Neural retrieval at the speed of the hardware: bi-encoder, late interaction, reranking; on numpy alone."""

from importlib import import_module
from types import ModuleType

from tercet._core import __version__
from tercet.compat import from_hnswlib
from tercet.indexes import FlatIndex, HNSWIndex, MultiVectorIndex, open
from tercet.pooling import pool_tokens
from tercet.retriever import Retriever
from tercet.scoring import cpu_info, dot, maxsim, maxsim_grid, topk
from tercet.segments import Codebook, SegmentedIndex, build_segment, train_codebook
from tercet.types import Hit, Hits, PackedMask, TokenMatches, TokenVectors

__all__ = [
    "Codebook",
    "FlatIndex",
    "HNSWIndex",
    "Hit",
    "Hits",
    "MultiVectorIndex",
    "PackedMask",
    "Retriever",
    "SegmentedIndex",
    "TokenMatches",
    "TokenVectors",
    "__version__",
    "build_segment",
    "cpu_info",
    "dot",
    "from_hnswlib",
    "maxsim",
    "maxsim_grid",
    "open",
    "pool_tokens",
    "topk",
    "train_codebook",
]


def __getattr__(name: str) -> ModuleType:
    """Import ``tercet.cuda`` when it is first used."""
    if name == "cuda":
        return import_module("tercet.cuda")
    raise AttributeError(f"module 'tercet' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what is public: completion shows this, not the modules it comes from."""
    return [*__all__, "compat", "cuda"]
