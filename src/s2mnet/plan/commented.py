"""A pydantic model as YAML, with the description of each field as a comment."""

from __future__ import annotations

import json
from typing import Any

import yaml
from pydantic import BaseModel

WIDTH = 120


def to_yaml(model: BaseModel) -> str:
    """YAML that loads as ``model.model_dump(mode="json")``: a section for each field that is a model or a mapping.

    The description of a field follows its value, or precedes it if the line would be too long.

    Example:
        >>> from pydantic import Field
        >>> class Optimiser(BaseModel):
        ...     lr: float = Field(1e-3, description="learning rate")
        >>> class Settings(BaseModel):
        ...     optimiser: Optimiser = Field(Optimiser(), description="how to descend")
        >>> print(to_yaml(Settings()))
        # how to descend
        optimiser:
          lr: 0.001  # learning rate
        <BLANKLINE>
    """
    return "\n".join(line for name, value in model for line in _field(model, name, value)) + "\n"


def _field(model: BaseModel, name: str, value: Any) -> list[str]:
    comment = type(model).model_fields[name].description
    above = [f"# {comment}"] if comment else []
    if isinstance(value, BaseModel):
        return [*above, f"{name}:", *_indented([line for part in value for line in _field(value, *part)]), ""]
    plain = model.model_dump(mode="json", include={name})[name]
    if isinstance(plain, dict) and plain:
        return [*above, f"{name}:", *_indented([f"{_flow(key)}: {_flow(held)}" for key, held in plain.items()]), ""]
    line = f"{name}: {_flow(plain)}"
    beside = f"{line}  # {comment}" if comment else line
    return [beside] if len(beside) <= WIDTH - 2 else [*above, line]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" if line else line for line in lines]


def _flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else yaml.safe_dump(value).partition("\n")[0]
    if isinstance(value, str):
        text = yaml.safe_dump(value, width=10**6, allow_unicode=True).removesuffix("\n...\n").strip("\n")
        return json.dumps(value, ensure_ascii=False) if "\n" in text else text
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n...\n").strip("\n")
