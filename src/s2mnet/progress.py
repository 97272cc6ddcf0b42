"""One progress bar for everything that is slow, training apart."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]


@contextlib.contextmanager
def progress_bar(description: str, show: bool = True) -> Iterator[Progress]:
    """A bar with the time left, on standard error if that is a terminal, gone when it is done.

    Args:
        description: what is being done.
        show: False shows nothing.

    Yields:
        A function to call with what is done and what there is in all.

    Example:
        >>> with progress_bar("reading", show=False) as progress:
        ...     progress(1, 2)
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not (show and console.is_terminal)) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
