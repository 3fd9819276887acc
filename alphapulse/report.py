"""The report of a stored sweep: `python -m alphapulse.report study=NAME`."""

from alphapulse.config.command import command
from alphapulse.config.schema import ReportConfig


@command("report", ReportConfig)
def main(config: ReportConfig) -> None:
    """Run the command."""
    from alphapulse.sweep.report import run_report

    run_report(config)


if __name__ == "__main__":
    main()
