"""One line of the report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """An operation: what it takes, what it must take, and what the same result takes elsewhere.

    Attributes:
        name: the operation and its size.
        seconds: libspeft's median.
        limit_seconds: what this machine could do it in at best, by `counted`.
        counted: what the limit counts.
        target: how many times its limit the operation may take, where that is how its target is stated.
        peer: what else gives the same result, or why there is nothing to compare with.
        peer_seconds: its median, or None.
        implementation: which code of libspeft ran.
    """

    name: str
    seconds: float
    limit_seconds: float
    counted: str
    target: float | None
    peer: str
    peer_seconds: float | None
    implementation: str

    @property
    def over_limit(self) -> float:
        """How many times its limit it takes."""
        return self.seconds / self.limit_seconds

    @property
    def peer_over_limit(self) -> float | None:
        """How many times the same limit the peer takes."""
        return None if self.peer_seconds is None else self.peer_seconds / self.limit_seconds

    @property
    def over_peer(self) -> float | None:
        """How many times faster than the peer it is."""
        return None if self.peer_seconds is None else self.peer_seconds / self.seconds
