"""Which text columns need no cleaning: no value is empty or has a blank at either end.

Trimming every text costs DuckDB 0.1 CPU seconds a million values, looking at two bytes of each a fifth of that.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def is_clean(column: pa.ChunkedArray) -> bool:
    """Whether every value begins and ends with a visible ASCII character, or is null. False only costs time."""
    return all(_is_clean(chunk) for chunk in column.chunks)


def _is_clean(values: pa.Array) -> bool:
    if not pa.types.is_string(values.type):
        return False
    if values.null_count:
        values = values.drop_null()
    if not len(values):
        return True
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    if data is None or (ends[1:] == ends[:-1]).any():
        return False
    text = np.frombuffer(data, np.uint8)
    for places in (ends[:-1], ends[1:] - 1):
        found = text[places]
        if found.min() <= ord(" ") or found.max() >= 0x7F:
            return False
    return True
