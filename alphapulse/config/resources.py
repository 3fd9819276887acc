"""Where conf/, sweeps/ and migrations/ are: in a checkout at its root, in an installed wheel inside the package."""

from pathlib import Path
from typing import Literal

PACKAGE = Path(__file__).resolve().parent.parent


def resource_dir(name: Literal["conf", "sweeps", "migrations"]) -> Path:
    """Return the absolute directory of a resource of this package.

    Raises
    ------
    FileNotFoundError
        If the installation has lost it.
    """
    for folder in (PACKAGE / "resources" / name, PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"`{name}` must be at {PACKAGE / 'resources'} or {PACKAGE.parent}; install it again.")
