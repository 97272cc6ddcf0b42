"""Reading XML from anywhere: without entities, document types and files of any size."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

_LARGEST = 500_000_000  # bytes


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse a document type: only it can declare entities."""
        raise ValueError(f"it declares a document type ({name}), which may hold entities")


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file.

    Raises:
        ValueError: it has a document type, or more than 500 MB.
        xml.etree.ElementTree.ParseError, OSError: it is not XML, or cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST} bytes")
    parser = ElementTree.XMLParser(target=_Builder())
    parser.feed(content)
    root = parser.close()
    assert isinstance(root, ElementTree.Element)
    return root
