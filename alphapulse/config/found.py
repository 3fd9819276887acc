"""Samplers and providers by the names of their files: options of `search` and `provider` without a file in conf/."""

from collections.abc import Mapping
from types import MappingProxyType

from alphapulse.config.resources import PACKAGE
from alphapulse.search.samplers import SAMPLERS

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
