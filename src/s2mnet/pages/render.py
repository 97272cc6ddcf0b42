"""Templates to HTML files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from s2mnet.files import write_atomically
from s2mnet.text import counted, listed

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """Fill a template; every value is escaped, so names of files and classes may hold anything.

    Args:
        template: path inside this package, such as "report/report.html".
        values: what the template refers to.
    """
    return _environment().get_template(template).render(values)


def write_page(page: str, path: str | Path) -> Path:
    """Write a page to ``path``, whole or not at all, and return the path.

    Raises:
        S2MNetError: the place cannot be written to.
    """
    path = Path(path)
    # A file name that is not valid Unicode (lone surrogates) must not cost the page.
    write_atomically(path, page.encode("utf-8", errors="replace"))
    return path


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("s2mnet", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"counted": counted, "listed": listed}
    return environment
