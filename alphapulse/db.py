"""Set the database up: `python -m alphapulse.db init ADMIN_URL | upgrade | url`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import DatabaseCommandConfig


@command("db", "DatabaseCommandConfig", words=("action", "admin_url"))
def main(config: "DatabaseCommandConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.commands.db import run_database_command

    run_database_command(config)


if __name__ == "__main__":
    main()
