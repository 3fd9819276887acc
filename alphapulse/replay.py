"""A stored trial again, exactly: `python -m alphapulse.replay study=NAME trial=N`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import ReplayConfig


@command("replay", "ReplayConfig")
def main(config: "ReplayConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.commands.replay import run_replay

    run_replay(config)


if __name__ == "__main__":
    main()
