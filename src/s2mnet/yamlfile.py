"""Reading YAML files that people may have edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded

LARGEST, DEEPEST, MOST = 500_000, 20, 50_000  # bytes, levels, values; a plan has a few thousand, three, a hundred
Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model], fix: str, empty: Any = None) -> Model:
    """Read a file into a model.

    Args:
        path: the file.
        model: class of the result.
        fix: what the user can do about an error.
        empty: what an empty file stands for.

    Raises:
        S2MNetError: the file cannot be read, is not YAML, is larger than 500 kB, nested deeper than 20 levels, has
            aliases for more than 50,000 values or a key twice, or a field is wrong; the first such field is named.
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

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.level = self.nodes = 0
        self.sizes: dict[int, int] = {}  # nodes of each whole part, by its id

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        alias, before = self.check_event(yaml.AliasEvent), self.nodes
        self.level += 1
        if self.level > DEEPEST:
            raise yaml.YAMLError(f"it is nested deeper than {DEEPEST} levels")
        node = super().compose_node(parent, index)
        self.level -= 1
        self.nodes += self.sizes.get(id(node), MOST) if alias else 1  # MOST: an alias of a part within itself
        if self.nodes >= MOST:
            raise yaml.YAMLError(f"its aliases stand for more than {MOST} values")
        self.sizes.setdefault(id(node), self.nodes - before)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            raise yaml.composer.ComposerError(problem="a key is given twice", problem_mark=node.start_mark)
        return node
