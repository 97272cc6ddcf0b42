"""The progress of slow steps other than training: a bar in a terminal, a line a minute in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]
SECONDS = 60.0  # between two lines in a log


@contextlib.contextmanager
def progress_bar(description: str, show: bool = True) -> Iterator[Progress]:
    """Progress and the remaining time, on standard error: a bar that disappears at the end, or lines in a log.

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
    started = last = time.monotonic()
    bar = Bar(*columns, console=console, transient=True, disable=not (show and console.is_terminal))
    with contextlib.nullcontext() if bar.disable else bar:  # rich below 14.1 ends a disabled one with an empty line
        task = bar.add_task(description, total=None)

        def advance(done: int, total: int) -> None:
            nonlocal last
            bar.update(task, completed=done, total=total)
            now = time.monotonic()
            if show and bar.disable and done and now - last >= SECONDS:
                last = now
                minutes = (now - started) * (total - done) / done / 60
                console.print(f"{description}: {done} of {total}, {minutes:.0f} min left", markup=False, soft_wrap=True)

        yield advance
