"""What bars are stored, and whether they are sound: `python -m alphapulse.data list`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import DataCommandConfig


@command("data", "DataCommandConfig", words=("action",))
def main(config: "DataCommandConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.commands.data import run_data

    run_data(config)


if __name__ == "__main__":
    main()
