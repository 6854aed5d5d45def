"""Opens a file by what its first bytes say that it is: packed ones are unpacked, others named with what to do.

The name says only how rows are written in it: `rows.jsonl.gz` holds JSON Lines.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from io import BufferedReader, BytesIO
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Literal, TypeAlias
from zipfile import BadZipFile, ZipFile

from icm_api.errors import ConfigError, DataError

Kind: TypeAlias = Literal["plain", "gzip", "xz", "bzip2", "zstd", "zip", "parquet", "xlsx"]

_SIGNATURES: tuple[tuple[bytes, Kind], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PAR1", "parquet"),
)
_PICKLE = "a Python pickle, which is not opened: write its rows as JSON Lines"
_UNREADABLE = (
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls): save it as CSV UTF-8"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"ARROW1", "an Arrow file: read it as hub:{path}"),
    (b"SQLite format 3", "an SQLite database: export its table as CSV"),
    (b"%PDF", "a PDF document: export its rows as CSV"),
    (b"\x93NUMPY", "a NumPy array: write its rows as JSON Lines"),
    *((bytes((0x80, protocol)), _PICKLE) for protocol in range(2, 6)),
    (b"version https://git-lfs", "a pointer of Git LFS, not the data: fetch them with git lfs pull"),
    (b"<!doctype html", "a web page, maybe of a sign-in or a preview: download the raw file"),
    (b"<html", "a web page, maybe of a sign-in or a preview: download the raw file"),
)
_PACKED_ENDINGS = (".gz", ".xz", ".bz2", ".zst", ".zstd", ".zip")
_WIDE_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_HEAD = 512
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, BadZipFile, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class Found:
    """What a file is: its kind by its first bytes, and its name without the ending of the packer."""

    kind: Kind
    name: str

    @property
    def ending(self) -> str:
        """How the name of what is in it ends, in lower case: ".csv"."""
        return PurePath(self.name).suffix.lower()


def look(path: str) -> Found:
    """What a file is. One that is missing is called plain: whoever opens it says so.

    Args:
        path: the file.

    Raises:
        DataError: the file is of a kind that is not read, or a zip archive of several files.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return Found("plain", path)
    kind = _kind(path, head)
    if kind == "zip":
        return _in_archive(path)
    packed = kind not in ("plain", "parquet") and PurePath(path).suffix.lower() in _PACKED_ENDINGS
    return Found(kind, str(PurePath(path).with_suffix("")) if packed else path)


@contextmanager
def opened(path: str, what: str) -> Iterator[BinaryIO]:
    """A file, open for reading and unpacked; every way in which that can fail is a DataError.

    Args:
        path: the file.
        what: the kind of file that is wanted, for a message.

    Yields:
        The bytes of the text in it, in UTF-8 if it has a mark of UTF-16 or UTF-32.

    Raises:
        DataError: the file can't be opened, read or unpacked.
        ConfigError: a package that unpacks it is missing.
    """
    try:
        with _unpacked(path, look(path).kind) as stream:
            head = stream.peek(_HEAD)[:_HEAD]
            if (inside := _kind(path, head)) != "plain":
                raise DataError(f"{path}: holds a file of another kind ({inside}) and no {what}; unpack it")
            encoding = next((name for mark, name in _WIDE_MARKS if head.startswith(mark)), None)
            if encoding is None and _is_wide(head):
                raise DataError(f"{path}: UTF-16 without its byte-order mark; save the file as UTF-8")
            yield stream if encoding is None else BytesIO(stream.read().decode(encoding).encode())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {_where_to_look(path)}") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a directory; name a {what} file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: begins with a mark of {error.encoding}, and is not; save the file as UTF-8") from None
    except _DAMAGED as error:
        raise DataError(f"{path}: damaged, it can't be unpacked to its end ({error}); fetch or pack it anew") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _is_wide(head: bytes) -> bool:
    """Whether every second byte is NUL, as in UTF-16 of mostly Latin text; a stray NUL in UTF-8 is not that."""
    return len(head) >= 4 and any(head[start::2].count(0) * 10 >= len(head) // 2 * 9 for start in (0, 1))


def _where_to_look(path: str) -> str:
    if "://" in path:
        return "what is on the web is downloaded first, or read as hub:OWNER/NAME"
    return "write the home folder in place of ~" if path.startswith("~") else "check the path"


def package(name: str, extra: str, path: str, what: str) -> Any:
    """A package that reads a kind of file, imported when it is needed.

    Args:
        name: of the package.
        extra: what to install for it.
        path: the file.
        what: what the file is, and what else can be done.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(f"{path}: {what}, or install what reads it: pip install {extra}") from error


def _kind(path: str, head: bytes) -> Kind:
    start = head.lstrip()[:64].lower()
    for mark, what in _UNREADABLE:
        if head.startswith(mark) or start.startswith(mark):
            raise DataError(f"{path}: {what.format(path=path)}")
    if head[257:262] == b"ustar":
        raise DataError(f"{path}: a tar archive: unpack it, and name the file in it")
    return next((kind for mark, kind in _SIGNATURES if head.startswith(mark)), "plain")


def _unpacked(path: str, kind: Kind) -> AbstractContextManager[BufferedReader]:
    """The file's bytes, unpacked as they are read; each of these streams can peek."""
    openers: dict[Kind, Any] = {"gzip": gzip.open, "xz": lzma.open, "bzip2": bz2.open, "zip": _member, "zstd": _zstd}
    found: AbstractContextManager[BufferedReader] = openers.get(kind, partial(open, mode="rb"))(path)
    return found


def _zstd(path: str) -> BufferedReader:
    arrow = package("pyarrow", "'icm-api[export]'", path, "compressed with zstd: unpack it with zstd -d")
    try:
        with arrow.input_stream(path, compression="zstd") as stream:
            return BufferedReader(BytesIO(stream.read()))
    except OSError as error:
        raise EOFError(str(error)) from error


def _in_archive(path: str) -> Found:
    """What a zip archive holds: an Excel workbook, or one file."""
    try:
        with ZipFile(path) as archive:
            names = [each.filename for each in archive.infolist() if _is_data(each.filename)]
            locked = any(each.flag_bits & 1 for each in archive.infolist())
    except (BadZipFile, OSError) as error:
        raise DataError(f"{path}: a damaged zip archive ({error}); fetch or pack it anew") from error
    if "[Content_Types].xml" in names and any(name.startswith("xl/") for name in names):
        return Found("xlsx", path)
    if "META-INF/manifest.xml" in names or any(name.endswith((".npy", ".pkl")) for name in names):
        raise DataError(f"{path}: a document or arrays in a zip archive: save its rows as CSV UTF-8 or JSON Lines")
    if locked:
        raise DataError(f"{path}: a zip archive with a password: unpack it")
    if len(names) != 1:
        raise DataError(f"{path}: a zip archive of {len(names)} files: unpack it, and name the one that is meant")
    return Found("zip", names[0])


def _is_data(name: str) -> bool:
    """Whether a member is no folder and none of the notes that macOS packs beside every file."""
    return not name.endswith("/") and not name.startswith("__MACOSX/") and PurePath(name).name != ".DS_Store"


@contextmanager
def _member(path: str) -> Iterator[Any]:
    with ZipFile(path) as archive:
        [name] = filter(_is_data, archive.namelist())
        with archive.open(name) as stream:
            yield stream
