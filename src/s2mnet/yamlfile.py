"""Reading a YAML file that a person may have edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from s2mnet.errors import S2MNetError

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model], expected: str, mend: str, empty: Any = None) -> Model:
    """What a file says, as a model; the first wrong line is named.

    Args:
        path: the file.
        model: what it must say.
        expected: what the file is, for the message.
        mend: what the user can do about it.
        empty: what an empty file means.

    Raises:
        S2MNetError: the file cannot be read, is no YAML, or says something that the model cannot say.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return model.model_validate(empty if content is None else content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise S2MNetError(path, f"what cannot be read ({error})", expected, mend) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        found = place if isinstance(first["input"], dict) else f"{place} = {first['input']!r}"
        raise S2MNetError(path, found, first["msg"].removeprefix("Value error, "), mend) from None
