"""Small pieces of HTML from plain text, all of it escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from s2mnet.overlay import Colour


def section(title: str, anchor: str, *parts: str) -> str:
    """A section of the page; empty parts are dropped.

    Example:
        >>> section("Data", "data", "<p>x</p>", "")
        '<section id="data">\\n<h2>Data</h2>\\n<p>x</p>\\n</section>'
    """
    body = "\n".join(part for part in parts if part)
    return f'<section id="{anchor}">\n<h2>{escape(title)}</h2>\n{body}\n</section>'


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of plain text.

    Example:
        >>> paragraph("a < b", "note")
        '<p class="note">a &lt; b</p>'
    """
    return f'<p class="{style}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"


def sentences(texts: Sequence[str]) -> str:
    """A list of sentences, one as a paragraph; empty for none.

    Example:
        >>> sentences(["a", "b"])
        '<ul><li>a</li><li>b</li></ul>'
    """
    if len(texts) == 1:
        return paragraph(texts[0])
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>" if texts else ""


def pairs(rows: Mapping[str, Any]) -> str:
    """A table of names and values; empty for none.

    Example:
        >>> pairs({"seed": 0})
        '<table class="pairs"><tr><th scope="row">seed</th><td>0</td></tr></table>'
    """
    cells = (f'<tr><th scope="row">{escape(str(k))}</th><td>{_value(k, v)}</td></tr>' for k, v in rows.items())
    return f'<table class="pairs">{"".join(cells)}</table>' if rows else ""


def legend(title: str, entries: Iterable[tuple[Colour, str]]) -> str:
    """Colours and what they mean, behind a title.

    Example:
        >>> legend("Errors", [((255, 0, 0), "wrong")])
        '<ul class="legend"><li>Errors</li><li><i style="background:#ff0000"></i>wrong</li></ul>'
    """
    items = (f'<li><i style="background:{_hex(colour)}"></i>{escape(text)}</li>' for colour, text in entries)
    return f'<ul class="legend"><li>{escape(title)}</li>{"".join(items)}</ul>'


def scale_legend(title: str, colours: Sequence[Colour], text: str) -> str:
    """A continuous colour scale and what it means, behind a title.

    Example:
        >>> scale_legend("β", [(0, 0, 0), (255, 255, 255)], "0 to 1")[:56]
        '<ul class="legend"><li>β</li><li><i class="scale" style='
    """
    steps = ",".join(_hex(colour) for colour in colours)
    bar = f'<i class="scale" style="background:linear-gradient(90deg,{steps})"></i>'
    return f'<ul class="legend"><li>{escape(title)}</li><li>{bar}{escape(text)}</li></ul>'


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _value(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return escape(", ".join(f"{k} {v}" for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return escape(", ".join(map(str, value)))
    text = "–" if value is None else escape(str(value))
    return f"<code>{text}</code>" if name.lower() in ("command", "commit") else text
