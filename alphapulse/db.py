"""Set the database up: `python -m alphapulse.db init ADMIN_URL | upgrade | url`."""

from alphapulse.config.command import command
from alphapulse.config.schema import DatabaseCommandConfig


@command("db", DatabaseCommandConfig, words=("action", "admin_url"))
def main(config: DatabaseCommandConfig) -> None:
    """Run the command."""
    from alphapulse.data_pipeline.setup import run_database_command

    run_database_command(config)


if __name__ == "__main__":
    main()
