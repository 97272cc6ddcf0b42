"""Reading YAML files that people may have edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from s2mnet.errors import S2MNetError

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model], fix: str, empty: Any = None) -> Model:
    """Read a file into a model.

    Args:
        path: the file.
        model: class of the result.
        fix: what the user can do about an error.
        empty: what an empty file stands for.

    Raises:
        S2MNetError: the file cannot be read, is not YAML, or a field is wrong; the first such field is named.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return model.model_validate(empty if content is None else content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise S2MNetError(path, f"cannot be read ({error})", fix) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        message = first["msg"].removeprefix("Value error, ")
        raise S2MNetError(path, f"is wrong at {place}{value}: {message}", fix) from None
