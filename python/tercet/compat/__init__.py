"""Stand-ins for the interfaces of other libraries: ``from tercet.compat import hnswlib``, or ``pylate``."""

from tercet.compat import hnswlib, pylate
from tercet.compat.hnswlib_import import from_hnswlib

__all__ = ["from_hnswlib", "hnswlib", "pylate"]


def __dir__() -> list[str]:
    return __all__
