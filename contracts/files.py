"""Small files that several processes share: written whole or not at all, read with an error that helps."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from contracts.errors import ConfigurationError


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) by rename, so that a reader sees the old file, the new file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path, what: str) -> Any:  # noqa: ANN401 - JSON is any type until its reader validates it
    """Read a JSON file; a missing or damaged one is a ConfigurationError that says which file held ``what``."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"Reading {what}",
            found=f"no file {path}",
            required="the file that an earlier step writes",
            next_step="Run the step that writes it, or pass the right path.",
        ) from error
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"Reading {what}",
            found=f"{path} is not JSON ({error})",
            required="the JSON file that an earlier step writes",
            next_step="Delete the damaged file and run the step that writes it again.",
        ) from error
