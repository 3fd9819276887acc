"""One backtest with its tear sheet: `python -m alphapulse.backtest`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.given import Given
    from alphapulse.config.schema import BacktestConfig


@command("backtest", "BacktestConfig", with_given=True)
def main(config: "BacktestConfig", directory: "Path", given: "Given") -> None:
    """Run the command."""
    from alphapulse.commands.backtest import run_backtest

    run_backtest(config, directory, given)


if __name__ == "__main__":
    main()
