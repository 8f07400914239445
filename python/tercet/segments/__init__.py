"""Large late-interaction indexes on disk: immutable segments, tombstones, one manifest.

Read in this order: ``manifest`` (what a commit says), ``segment`` (a file and which of its documents live),
``snapshot`` (the segments of a commit, and questions to all of them), ``writer`` (changes, commits, merging),
``questions``, ``changes`` and ``index`` (what is public). ``codebook``, ``stream`` and ``building`` serve who
builds, ``sizes`` who asks what it takes.
"""

from tercet.segments.building import build_segment
from tercet.segments.codebook import Codebook, train_codebook
from tercet.segments.index import SegmentedIndex

__all__ = ["Codebook", "SegmentedIndex", "build_segment", "train_codebook"]
