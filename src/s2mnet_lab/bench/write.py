"""The files of a benchmark: its record, the page of a machine, and the charts."""

from __future__ import annotations

from pathlib import Path

from s2mnet.files import write_atomically
from s2mnet_lab.bench.charts import charts
from s2mnet_lab.bench.record import Record
from s2mnet_lab.bench.summary import summarise, write_summary
from s2mnet_lab.bench.tables import CONDITIONS, processor, tables


def write_record(record: Record, folder: Path) -> None:
    """Write ``folder/bench.json`` with everything measured so far."""
    write_atomically(folder / "bench.json", record.model_dump_json(indent=1).encode())


def write_page(record: Record, page: Path, folder: Path, title: str = "Performance") -> Path:
    """Write the page of a record, and its charts to ``folder``, which is the page's own or lies below it.

    Returns:
        The page.

    Raises:
        S2MNetError: a place that cannot be written to.
    """
    pictures = []
    for name, content in charts(record).items():
        write_atomically(folder / f"{name}.svg", content)
        pictures.append(f"![{name}]({(folder / f'{name}.svg').relative_to(page.parent).as_posix()})")
    parts = [f"# {title}", _provenance(record), CONDITIONS, *pictures, tables(record)]
    write_atomically(page, ("\n\n".join(parts) + "\n").encode())
    return page


def write_machine(record: Record, name: str, title: str, folder: Path) -> Path:
    """Write the page of a machine, its part of the summary, and the summary of all machines.

    Args:
        name: of the files: ``folder/name.md``, ``folder/name.json`` and the charts ``folder/name/*.svg``.
        title: of the machine, for tables.
        folder: such as docs/performance; the summary is docs/performance.md.

    Returns:
        The summary.

    Raises:
        S2MNetError: see :func:`s2mnet_lab.bench.summary.write_summary`.
    """
    write_page(record, folder / f"{name}.md", folder / name, f"Performance: {title}")
    write_atomically(folder / f"{name}.json", (summarise(record, title).model_dump_json(indent=1) + "\n").encode())
    return write_summary(folder)


def _provenance(record: Record) -> str:
    facts = record.environment
    versions = ", ".join(f"{name} {facts[name]}" for name in ("s2mnet", "torch", "monai", "python") if facts.get(name))
    options = ", ".join(f"{name} {_plain(value)}" for name, value in record.options.items() if value)
    return (
        f"Written by `s2mnet-lab`, not by hand. {processor(record)}; {versions}; commit {facts.get('commit')}; "
        f"{facts.get('date')}. Options: {options}."
    )


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
