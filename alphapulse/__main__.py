"""The list of commands: `python -m alphapulse`."""

from alphapulse.config.command import exit_code

COMMANDS = {
    "sweep": "search a strategy's parameters, with a verdict: skill or luck",
    "backtest": "one backtest with its tear sheet, of any setting or stored trial",
    "download": "bring bars into the database",
    "data": "what bars are stored: list, check, gaps, export, rejected",
    "trials": "the trials of a stored study as a table, CSV, Parquet or JSON",
    "replay": "a stored trial again, exactly",
    "report": "the report of a stored sweep",
    "weigh": "the verdict of what is stored, and more null sweeps",
    "studies": "what is stored: list, compare, delete, rename; or the ledger of what was tried on which bars",
    "new": "a strategy of your own to start from: new NAME",
    "dashboard": "optuna-dashboard on this database",
    "db": "the database: init ADMIN_URL, upgrade, status, stop, url",
}


def main() -> None:
    """Print the commands."""
    print("alphapulse: parameter sweeps of trading strategies that tell skill from luck\n")
    for name, purpose in COMMANDS.items():
        print(f"  python -m alphapulse.{name:<10} {purpose}")
    print("\nEach has --help.")


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
