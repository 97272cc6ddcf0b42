"""Reading YAML files that people may have edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded

LARGEST, DEEPEST = 500_000, 20  # bytes and levels; a plan has a few thousand and three
Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model], fix: str, empty: Any = None) -> Model:
    """Read a file into a model.

    Args:
        path: the file.
        model: class of the result.
        fix: what the user can do about an error.
        empty: what an empty file stands for.

    Raises:
        S2MNetError: the file cannot be read, is not YAML, is larger than 500 kB or nested deeper than 20 levels, has
            aliases or a key twice, or a field is wrong; the first such field is named.
    """
    try:
        with guarded(path, "cannot be read as YAML", fix):
            content = _load(path)
        return model.model_validate(empty if content is None else content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
        message = first["msg"].removeprefix("Value error, ")
        raise S2MNetError(path, f"is wrong at {place}{value}: {message}", fix) from None


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    return yaml.load(content.decode("utf-8-sig"), _Loader)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without what only an attack needs, and without dates: they are text here."""

    yaml_implicit_resolvers: ClassVar = {
        letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    level = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):  # a few of them can stand for gigabytes
            raise yaml.YAMLError(f"aliases such as *{self.peek_event().anchor} are not read")
        self.level += 1
        if self.level > DEEPEST:
            raise yaml.YAMLError(f"it is nested deeper than {DEEPEST} levels")
        node = super().compose_node(parent, index)
        self.level -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(problem="a key is given twice", problem_mark=node.start_mark)
        return mapping
