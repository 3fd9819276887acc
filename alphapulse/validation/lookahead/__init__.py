"""The look-ahead gate: a strategy's past must not move when its future does."""

from alphapulse.validation.lookahead.gate import check_lookahead, gate_points

__all__ = ["check_lookahead", "gate_points"]
