"""Bring bars into the database: `python -m alphapulse.download`."""

from typing import TYPE_CHECKING

from alphapulse.config.command import command

if TYPE_CHECKING:
    from pathlib import Path

    from alphapulse.config.schema import DownloadConfig


@command("download", "DownloadConfig")
def main(config: "DownloadConfig", directory: "Path") -> None:
    """Run the command."""
    from alphapulse.data_pipeline.manager import run_download

    run_download(config)


if __name__ == "__main__":
    main()
