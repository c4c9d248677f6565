"""How fast one key may send: a token bucket per key, in this process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float  # monotonic seconds


class Rates:
    """Requests per second and key; a key that was quiet may send `burst` at once. Forgets who is full again."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._buckets: dict[str, _Bucket] = {}

    def wait_seconds(self, key_id: str, now: float) -> float:
        """Take one token; 0 means go, else how long until there is one. `now` is monotonic."""
        bucket = self._buckets.setdefault(key_id, _Bucket(self._burst, now))
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.filled_at) * self._per_second)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._per_second
        bucket.tokens -= 1
        return 0.0

    def forget(self, now: float) -> None:
        """Drop the buckets that are full by now, so that keys long gone take no memory."""
        full_after = self._burst / self._per_second
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if now - bucket.filled_at < full_after}
