"""What is stored: `python -m alphapulse.studies [list | ledger | compare=[A,B] | delete NAME | rename NAME NEW]`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import StudiesConfig


@command("studies", "StudiesConfig", words=("action", "study", "to"))
def main(config: "StudiesConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.commands.studies import run_studies

    run_studies(config)


if __name__ == "__main__":
    main()
