"""Samplers by name: each public file of this package is one, and its class has the same name."""

from pkgutil import iter_modules

SAMPLERS = tuple(sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_")))
"""The names; a sampler is imported on demand, since most studies need one."""
