"""glibc's allocator, told to give memory back: a device has one gigabyte, and frames come and go for years.

By default glibc raises its mmap threshold to the largest block freed so far, so that after one frame all frames live on
the heap and leave holes there, and it keeps a heap for each thread (mallopt(3)). Here blocks as large as a frame are
mapped and unmapped, at the cost of some page faults a frame.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
MAPPED_BYTES = 1 << 20
KEPT_BYTES = 1 << 20
"""Free memory at the heap's top that is not given back: the crops of the next frame take it again."""
ARENAS = 2


def bound_allocator() -> bool:
    """Set this process's limits. False where the C library has no such limits (musl), which is no fault."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    options = ((_MMAP_THRESHOLD, MAPPED_BYTES), (_TRIM_THRESHOLD, KEPT_BYTES), (_ARENA_MAX, ARENAS))
    return all(mallopt(option, value) == 1 for option, value in options)
