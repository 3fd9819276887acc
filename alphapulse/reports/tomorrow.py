"""What a trader does after the last bar: the position held, its stop, and the target decided at the last close."""

from alphapulse.backtesting.models import BacktestResult, Position
from alphapulse.backtesting.params import EngineParams

MOMENTS = {"next_open": "the next open", "next_close": "the next close", "same_close": "the last close"}


def tomorrow(result: BacktestResult, engine: EngineParams) -> list[str]:
    """Return the lines that a backtest ends with."""
    lines = []
    if result.n_both:
        lines.append(
            f"{result.n_both:,} bars touched both the stop and the take profit of a position; the stop was taken to be "
            "first."
        )
    held = result.positions if result.position is None else (result.position,)
    lines += [_describe(position) for position in held] or ["Position at the end: none."]
    target = f"target {result.target:+.4f}"
    if result.targets:
        wanted = [f"{symbol} {a:+.4f}" for symbol, a in result.targets.items() if a != 0.0]
        target = f"targets {', '.join(wanted)}" if wanted else "no position"
    lines.append(f"Decided at the last close: {target}, due at {MOMENTS[engine.execution]}.")
    return lines


def _describe(held: Position) -> str:
    levels = [
        f"{name} {level:,.4f}" for name, level in (("stop", held.stop), ("take profit", held.take_profit)) if level
    ]
    return (
        f"Position at the end: {held.units:+,.4f} {held.symbol} since {held.entry_time:%Y-%m-%d %H:%M} at "
        f"{held.entry_price:,.4f}, worth {held.value:,.2f}, unrealised {held.unrealised_profit:+,.2f}; "
        f"{', '.join(levels) or 'no stop'}."
    )
