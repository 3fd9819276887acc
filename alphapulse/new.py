"""A strategy to start from: `python -m alphapulse.new NAME`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import NewConfig


@command("new", "NewConfig", words=("name",))
def main(config: "NewConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.commands.new import run_new

    run_new(config)


if __name__ == "__main__":
    main()
