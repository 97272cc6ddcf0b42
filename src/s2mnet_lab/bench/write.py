"""The files of a benchmark: bench.json, bench.md, charts, and a page for the documentation."""

from __future__ import annotations

from pathlib import Path

from s2mnet.files import write_atomically
from s2mnet_lab.bench.charts import charts
from s2mnet_lab.bench.record import Record
from s2mnet_lab.bench.tables import ABOUT, tables


def write_record(record: Record, folder: Path) -> None:
    """Write ``folder/bench.json``: everything measured so far."""
    write_atomically(folder / "bench.json", record.model_dump_json(indent=1).encode())


def write_page(record: Record, page: Path, folder: Path) -> Path:
    """Write the page, and its charts to ``folder``, which is the page's own or lies below it; give the page's path.

    Raises:
        S2MNetError: a place that cannot be written to.
    """
    pictures = []
    for name, content in charts(record).items():
        write_atomically(folder / f"{name}.svg", content)
        pictures.append(f"![{name}]({(folder / f'{name}.svg').relative_to(page.parent).as_posix()})")
    parts = ["# Performance", _machine(record), ABOUT, *pictures, tables(record)]
    write_atomically(page, ("\n\n".join(parts) + "\n").encode())
    return page


def _machine(record: Record) -> str:
    facts = record.environment
    versions = ", ".join(f"{name} {facts[name]}" for name in ("s2mnet", "torch", "monai", "python") if facts.get(name))
    kind = f" with {facts['instructions']}" if facts.get("instructions") else ""
    cores = f"{record.threads} threads of {facts.get('cpu_count')} cores"
    processor = facts.get("gpu") or f"{facts.get('cpu')}{kind}, {cores}"
    options = {name: value for name, value in record.options.items() if value}
    asked = ", ".join(f"{name} {_plain(value)}" for name, value in options.items())
    return (
        f"Written by `s2mnet bench --write`, not by hand. {processor}; {versions}; commit {facts.get('commit')}; "
        f"{facts.get('date')}. Asked for: {asked}."
    )


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
