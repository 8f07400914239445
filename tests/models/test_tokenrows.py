"""One growing array against joining a list."""

from __future__ import annotations

import numpy as np
import pytest

from tercet.models.tokenrows import TokenRows


@pytest.mark.parametrize(
    "calls",
    [
        [[3, 1, 4]],
        [[1, 1], [50, 50], [0, 0], [2]],  # the first guess far too small
        [[90, 90], [1], [1, 1]],  # and far too large
        [[0], [0, 0]],
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_are_joined_in_order(rng, calls, dtype):
    texts = [[rng.standard_normal((n, 6)).astype(dtype) for n in lengths] for lengths in calls]
    rows = TokenRows(sum(map(len, calls)), 6)
    for parts in texts:
        rows.extend(parts)
    joined = rows.finish()
    flat = [part for parts in texts for part in parts]
    assert joined.values.dtype == np.float32
    np.testing.assert_array_equal(joined.values, np.concatenate(flat).astype(np.float32))
    assert [len(part) for part in joined] == [len(part) for part in flat]
