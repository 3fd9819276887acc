"""The verdict of a stored study, and its null sweeps still to run: `python -m alphapulse.weigh study=NAME`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import WeighConfig


@command("weigh", "WeighConfig")
def main(config: "WeighConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.commands.weigh import run_weigh

    run_weigh(config, directory)


if __name__ == "__main__":
    main()
