"""optuna-dashboard on this database: `python -m alphapulse.dashboard`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import DashboardConfig


@command("dashboard", "DashboardConfig")
def main(config: "DashboardConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.commands.dashboard import run_dashboard

    run_dashboard(config)


if __name__ == "__main__":
    main()
