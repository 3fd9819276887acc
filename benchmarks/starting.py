"""What a command costs before it works: an installed wheel beside the checkout, in seconds of processor time."""

import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "import alphapulse.backtesting.backtester": ("-c", "import alphapulse.backtesting.backtester"),
    "resolve('long_short')": ("-c", "from alphapulse.strategies.resolve import resolve; resolve('long_short')"),
    "python -m alphapulse.sweep --cfg job": ("-m", "alphapulse.sweep", "--cfg", "job"),
}


@dataclass(frozen=True)
class Start:
    """What a command took, by where alphapulse is.

    Attributes
    ----------
    command : str
    checkout, wheel : float
        Median over the repetitions, the two in turn [s of processor time].
    """

    command: str
    checkout: float
    wheel: float

    @property
    def ratio(self) -> float:
        """The wheel's time over the checkout's [1]."""
        return self.wheel / self.checkout


def install(folder: Path) -> Path:
    """Install this checkout's wheel into a new environment below `folder`, among links to what is installed here.

    Returns
    -------
    Path
        The environment's python.
    """
    code = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    venv.create(folder / "environment", symlinks=True)
    (site,) = folder.glob("environment/lib/python*/site-packages")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        # A path file would bring the checkout back.
        if entry.suffix != ".pth" and not entry.name.startswith("alphapulse"):
            (site / entry.name).symlink_to(entry)
    return folder / "environment" / "bin" / "python"


def processor_time(python: Path | str, arguments: tuple[str, ...], cwd: Path, path: str) -> float:
    """Run python and return the processor time that it took [s]."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": path}
    subprocess.run([python, *arguments], cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def run(n_repetitions: int = 5) -> list[Start]:
    with tempfile.TemporaryDirectory() as folder:
        python, cwd = install(Path(folder)), Path(folder) / "work"
        cwd.mkdir()
        places: tuple[tuple[Path | str, str], ...] = ((sys.executable, str(ROOT)), (python, ""))
        starts = []
        for name, arguments in COMMANDS.items():
            # The first time writes bytecode.
            times = [
                [processor_time(place, arguments, cwd, path) for place, path in places]
                for _ in range(n_repetitions + 1)
            ][1:]
            starts.append(Start(name, *(median(column) for column in zip(*times, strict=True))))
        return starts
