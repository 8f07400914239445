"""One index on many machines, by Ray: shards are built in parallel and searched in parallel.

:func:`build_shards` makes them, :class:`ShardedIndex` asks them, each in an actor of its own. Ray starts the
actors, carries the queries, and starts lost actors again; here is what is asked, and what an answer without
all shards means. Needs ``pip install 'tercet[ray]'``. Read in this order: ``shards`` (what one actor opens),
``manifest`` (what a directory of single vectors says), ``index``, ``streams`` and ``building``.
"""

from tercet.ray.building import build_shards
from tercet.ray.index import MissingShardsError, ShardedIndex, ShardHits

__all__ = ["MissingShardsError", "ShardHits", "ShardedIndex", "build_shards"]


def __dir__() -> list[str]:
    """List what is public."""
    return sorted(__all__)
