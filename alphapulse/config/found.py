"""What is found by where it lies: conf/, sweeps/ and migrations/, and samplers and providers by their files' names."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from alphapulse.search.samplers import SAMPLERS

PACKAGE = Path(__file__).resolve().parent.parent
ENDING = "_provider"

SAMPLER_NAMES = ("auto", *SAMPLERS)

PROVIDER_NAMES = tuple(
    sorted(
        path.stem.removesuffix(ENDING) for path in (PACKAGE / "data_pipeline" / "providers").glob(f"[!_]*{ENDING}.py")
    )
)

FOUND: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "search": {name: {"sampler": name} for name in SAMPLER_NAMES},
        "provider": {name: {"name": name} for name in PROVIDER_NAMES},
    }
)
"""Groups, their options, and the keys that an option sets, as a file `conf/GROUP/OPTION.yaml` would."""


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
