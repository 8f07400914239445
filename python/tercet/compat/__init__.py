"""Stand-ins for the interfaces of other libraries: ``from tercet.compat import hnswlib``."""

from tercet.compat import hnswlib
from tercet.compat.hnswlib_import import from_hnswlib

__all__ = ["from_hnswlib", "hnswlib"]
