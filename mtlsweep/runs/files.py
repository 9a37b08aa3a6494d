"""Files that are whole or not there: written beside their place and renamed."""

import csv
import io
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO


def write_bytes(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file that appears at `path` at once, with all its content, also after a crash of the machine.

    Raises:
        OSError: it cannot be written, e.g. because the disk is full; what was at `path` is there still.
    """
    beside = _beside(path)
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except Exception as error:
        refusal = error if isinstance(error, OSError) else error.__context__  # torch.save raises something of its own upon it
        if isinstance(refusal, OSError):
            raise OSError(refusal.errno, refusal.strerror, str(path)) from error
        raise
    finally:
        beside.unlink(missing_ok=True)


def write_content(path: Path, content: bytes) -> None:
    """Replace the file at `path` with these bytes."""
    write_bytes(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` with this text."""
    write_content(path, text.encode())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace the file at `path` with this value, readable for people too."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def create_json(path: Path, value: Mapping[str, Any]) -> bool:
    """Create the file at `path`; False where it exists already. Of several processes that try, exactly one gets True."""
    beside = _beside(path)
    write_json(beside, value)  # through the disk's cache, so that no crash of the machine leaves a name without its content
    try:
        os.link(beside, path)  # unlike rename it fails when the name is taken, and unlike O_EXCL the content is there at once
        return True
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A name of this process's own: in containers that share a disk processes of one number are common."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file.

    Raises:
        ValueError: the file is not a JSON object.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: not a JSON object")
    return value


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the CSV file at `path`; a value that is absent or None is an empty field, floats keep seven digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_field(row.get(column)) for column in columns] for row in rows)
    write_text(path, text.getvalue())


def _field(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else str(value)
