"""What the indexes of single vectors share: metrics, queries, stored vectors."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tercet import _core
from tercet.arrays import as_float32, as_rows, check_dim
from tercet.indexes.base import BaseIndex, required_ids

__all__ = ["Metric", "VectorIndex", "check_metric", "check_rescore", "metric_like"]

Metric: TypeAlias = Literal["cosine", "dot", "l2"]

_METRICS = ("cosine", "dot", "l2")
_OTHER_NAMES = {  # lower case, letters and digits alone
    **{name: name for name in _METRICS},
    **dict.fromkeys(("cos", "cosinesimilarity", "cosinedistance", "angular"), "cosine"),
    **dict.fromkeys(("ip", "innerproduct", "dotproduct", "maxinnerproduct", "mips"), "dot"),
    **dict.fromkeys(("euclidean", "euclid", "sqeuclidean", "squaredeuclidean", "l2sq", "squaredl2"), "l2"),
}


class VectorIndex(BaseIndex):
    """An index of one vector per document. Not public: use FlatIndex or HNSWIndex."""

    _native: _core.FlatIndex | _core.HNSWIndex
    metric: Metric
    rescore: Literal["float32"] | None

    def get(self, ids: Any) -> npt.NDArray[np.float32]:
        """Return the stored vectors of ids, ``float32[n, dim]``: those kept for rescoring, or decoded codes.

        An id that is given twice is there twice.

        Raises:
            KeyError: unknown ids; names them.
            TypeError: ids of the other kind.
        """
        return self._native.get(required_ids(ids))

    def _rows(self, x: Any, name: str) -> npt.NDArray[np.float32]:
        """Return vectors or queries as rows of this index, at least one."""
        rows = as_rows(x, name)
        check_dim(rows, self.dim, name)
        if len(rows.data) == 0:
            raise ValueError(f"{name}: expected at least one row, got none")
        return as_float32(rows).data

    def _check_exact(self, exact: bool) -> None:
        """ValueError for an exact search where there are only codes."""
        if exact and self.rescore is None and self.codec != "float32":
            raise ValueError(
                f"exact: codec {self.codec!r} does not keep the vectors; the index needs rescore='float32'"
            )


def check_metric(metric: Any) -> None:
    """Raise unless this is a metric; whoever knows it by another name is told ours."""
    if not isinstance(metric, str):
        raise TypeError(f"metric: expected str, got {type(metric).__name__}")
    if metric not in _METRICS:
        meant = metric_like(metric)
        hint = f"; did you mean {meant!r}?" if meant else ""
        raise ValueError(f"metric: expected 'cosine', 'dot' or 'l2', got {metric!r}{hint}")


def metric_like(name: str) -> str | None:
    """Return the metric that other libraries call so, or None."""
    return _OTHER_NAMES.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def check_rescore(rescore: Any) -> None:
    """Raise unless this says what is kept beside the codes."""
    if rescore not in (None, "float32"):
        raise ValueError(f"rescore: expected 'float32' or None, got {rescore!r}")
