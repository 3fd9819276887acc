"""The report of a stored sweep: `python -m alphapulse.report study=NAME`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import ReportConfig


@command("report", "ReportConfig")
def main(config: "ReportConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.commands.report import run_report

    run_report(config, directory)


if __name__ == "__main__":
    main()
