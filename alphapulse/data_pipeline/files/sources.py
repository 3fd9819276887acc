"""Which files a path stands for: one, a folder of them, a pattern, the members of an archive; and their bytes."""

import glob
import gzip
import lzma
import zipfile
import zlib
from bz2 import BZ2File
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import polars as pl

from alphapulse.errors import DataError, did_you_mean

PARQUET = (".parquet", ".pq")
TEXTS = (".csv", ".txt", ".tsv", ".prn", ".dat")
PACKED: Mapping[str, Callable[[Any], Any]] = {".gz": gzip.open, ".bz2": BZ2File, ".xz": lzma.open}
UNREADABLE = (
    pl.exceptions.PolarsError,
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    RuntimeError,
    NotImplementedError,
)


@dataclass(frozen=True)
class FileSource:
    """One file of bars, or one member of an archive.

    Attributes
    ----------
    path : Path
    member : str, optional
        Its name in the archive.
    """

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    @property
    def name(self) -> str:
        """The name without folders and endings, which may say what is in it."""
        name = Path(self.member or self.path).name
        while Path(name).suffix.lower() in (*PACKED, *TEXTS, *PARQUET, ".zip"):
            name = Path(name).stem
        return name

    @property
    def is_parquet(self) -> bool:
        """Whether it holds columns, not text."""
        return self.member is None and self.path.suffix.lower() in PARQUET

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Give its bytes, unpacked as they are read.

        Raises
        ------
        DataError
            If they cannot be read, here or while they are read.
        """
        try:
            if self.member is not None:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as inner:
                    yield unpacked(inner, self.member)
            elif self.is_parquet:
                # Its reader takes time to load, and few files are of this kind.
                from alphapulse.data_pipeline.files.parquet import ParquetText

                yield cast("IO[bytes]", ParquetText(self.path))
            else:
                with open(self.path, "rb") as file:
                    yield unpacked(file, self.path.name)
        except UNREADABLE as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(f"{self} cannot be read as CSV ({reason}); check provider.path.") from error


def unpacked(file: IO[bytes], name: str) -> IO[bytes]:
    """Return the file unpacked as its name says."""
    opener = PACKED.get(Path(name).suffix.lower())
    packed: IO[bytes] = file if opener is None else opener(file)
    return packed


def find_files(path: str) -> list[FileSource]:
    """Return the files that a path stands for, by name.

    Parameters
    ----------
    path : str
        A file, a folder, a pattern with `*`, `?` or `[...]`, or a zip archive.

    Raises
    ------
    DataError
        If there is none.
    """
    found = Path(path).expanduser()
    if found.is_dir():
        files = [one for one in sorted(found.iterdir()) if one.is_file() and _may_hold_bars(one.name)]
        if not files:
            raise DataError(
                "`provider.path` (data.path with data=csv) must be a file of bars or a folder with some, but "
                f"{path!r} has no CSV or Parquet."
            )
    elif found.is_file():
        files = [found]
    else:
        files = [Path(one) for one in sorted(glob.glob(str(found))) if Path(one).is_file()]
        if not files:
            beside = [str(one) for one in sorted(found.parent.glob("*")) if one.is_file() and _may_hold_bars(one.name)]
            hint = did_you_mean(str(found), beside) or "; a folder or a pattern such as 'eurusd/*.zip' will do too"
            raise DataError(f"`provider.path` (data.path with data=csv) must be a file, but there is no {path!r}{hint}")
    return [source for one in files for source in _members(one)]


def _may_hold_bars(name: str) -> bool:
    return not name.startswith(".") and bool(
        {part.lower() for part in Path(name).suffixes} & {*TEXTS, *PARQUET, ".zip"}
    )


def _members(path: Path) -> list[FileSource]:
    if path.suffix.lower() != ".zip":
        return [FileSource(path)]
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be read as a zip archive ({error}); check provider.path.") from error
    names = sorted(name for name in names if not name.startswith("__MACOSX") and _may_hold_bars(Path(name).name))
    if not names:
        raise DataError(f"{path} has no CSV file in it; check provider.path.")
    return [FileSource(path, name) for name in names]
