"""A progress bar for slow steps other than training."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]


@contextlib.contextmanager
def progress_bar(description: str, show: bool = True) -> Iterator[Progress]:
    """A bar with the remaining time, on standard error if that is a terminal; it disappears at the end.

    Args:
        description: what is being done.
        show: False shows nothing.

    Yields:
        A function to call with the number of steps done and of all steps.

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
