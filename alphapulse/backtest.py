"""One backtest with its tear sheet: `python -m alphapulse.backtest`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import BacktestConfig


@command("backtest", "BacktestConfig")
def main(config: "BacktestConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.commands.backtest import run_backtest

    run_backtest(config, directory)


if __name__ == "__main__":
    main()
