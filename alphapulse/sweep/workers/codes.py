"""Whether a worker runs the code of its driver: asked before anything of ours is unpickled there.

This module travels by value, so that it needs nothing of the alphapulse of the node that it finds: it imports what it
uses inside its functions, and of ours nothing before the two are the same.
"""

from typing import Any

PACKAGES = ("numpy", "numba", "llvmlite")
OTHER = "__other_code__"

_differences: dict[str, str] = {}


def code_here() -> dict[str, str]:
    """Return what a trial's bits depend on beside its strategy: versions, and the hash of this package's source."""
    import hashlib
    import importlib.util
    import platform
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    spec = importlib.util.find_spec("alphapulse")
    if spec is None or spec.origin is None:
        return found | {"alphapulse": "none"}
    folder = Path(spec.origin).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder)
        if "resources" not in place.parts:
            digest.update(place.as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
    return found | {"alphapulse": digest.hexdigest()[:12]}


def run_where_same(code: dict[str, str], key: str, references: list[Any], payload: bytes) -> Any:
    """Do the pickled work where the code is the driver's; elsewhere return what differs, compared once a process.

    Parameters
    ----------
    code : dict of str to str
        `code_here` of the driver.
    key : str
        Of the shipment.
    references : list of ObjectRef
        Where its market and experiment are.
    payload : bytes
        A function and its arguments after key and references, pickled.
    """
    import pickle

    known = repr(sorted(code.items()))
    if known not in _differences:
        here = code_here()
        _differences[known] = ", ".join(
            f"{name} {here.get(name, 'none')} instead of {wanted}"
            for name, wanted in code.items()
            if here.get(name) != wanted
        )
    if _differences[known]:
        import ray

        context = ray.get_runtime_context()
        where = ray.util.get_node_ip_address()
        return {OTHER: _differences[known], "node": context.get_node_id(), "where": where}
    run, *arguments = pickle.loads(payload)
    return run(key, references, *arguments)
