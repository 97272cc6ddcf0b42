"""What both commands share: ``--version``, the streams they write to, and how errors end them."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Annotated

import typer

from s2mnet.allocator import keep_freed_memory
from s2mnet.errors import S2MNetError
from s2mnet.text import shown
from s2mnet.version import __version__


def new_app(name: str, summary: str) -> typer.Typer:
    """An application without commands.

    Args:
        name: of the command, for ``--version``.
        summary: for ``--help``.
    """
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    def show_version(asked: bool) -> None:
        if asked:
            typer.echo(f"{name} {__version__}")
            raise typer.Exit

    @app.callback(help=summary)
    def options(
        version: Annotated[
            bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
        ] = False,
    ) -> None: ...

    return app


def run(commands: typer.Typer) -> None:
    """Run a command line; bad input gives one message and exit status 2."""
    keep_freed_memory()
    warnings.filterwarnings("ignore", module="PIL")  # faulty files are reported once, by their reader
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a letter that the encoding lacks is written as \u2264
            stream.reconfigure(errors="backslashreplace")
    try:
        commands()
    except S2MNetError as error:
        _refuse(error)
    except OSError as error:
        if not _close_broken_output():
            raise
        problem = f"cannot be written to: {error.strerror or error}"
        _refuse(S2MNetError("Standard output", problem, "Free space, or redirect it elsewhere."))


def say(text: str, err: bool = False) -> None:
    """Print a line, with control characters escaped: names may hold anything."""
    typer.echo(shown(text), err=err)


@contextlib.contextmanager
def exit_on_interrupt(hint: str) -> Iterator[None]:
    """On Ctrl-C, print how to continue and exit with status 130."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped; {hint}", err=True)
        raise typer.Exit(130) from None


def _refuse(error: S2MNetError) -> None:
    with contextlib.suppress(OSError):
        say(f"error: {error}", err=True)
    sys.exit(2)


def _close_broken_output() -> bool:
    """Whether standard output cannot be written to; then later writes are dropped, or Python would fail at exit."""
    try:
        print(flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
