"""The trials of a stored study: `python -m alphapulse.trials study=NAME top=20 where="n_trades > 30" format=csv`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import TrialsConfig


@command("trials", "TrialsConfig")
def main(config: "TrialsConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.commands.trials import run_trials

    run_trials(config)


if __name__ == "__main__":
    main()
