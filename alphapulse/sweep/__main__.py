"""Search a strategy's parameters: `python -m alphapulse.sweep`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.given import Given
    from alphapulse.config.schema import SweepConfig


@command("config", "SweepConfig", with_given=True)
def main(config: "SweepConfig", directory: "Path", given: "Given") -> None:
    """Run the command."""
    from alphapulse.commands.sweep import run_sweep

    run_sweep(config, directory, given)


if __name__ == "__main__":
    main()
