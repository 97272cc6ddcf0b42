"""One record from several runs on one machine: a run of everything takes hours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from s2mnet.errors import S2MNetError
from s2mnet_lab.bench.record import Record

SAME = ("cpu", "instructions", "gpu", "cpu_count", "torch")


def load_records(files: Sequence[Path]) -> Record:
    """The merged record of several ``bench.json`` files.

    Raises:
        S2MNetError: a file is missing or is no record; or see :func:`merge`.
    """
    records = []
    for file in files:
        try:
            records.append(Record.model_validate_json(file.read_text(encoding="utf-8")))
        except (OSError, ValidationError) as error:
            reason = " ".join(str(error).split())[:200]
            problem = f"is not a record of a benchmark ({reason})"
            raise S2MNetError(file, problem, "Name a bench.json that s2mnet-lab bench wrote.") from None
    return merge(records)


def merge(records: Sequence[Record]) -> Record:
    """One record with the cases of all. Contestants are only ever compared within a run.

    Raises:
        S2MNetError: the runs are from different machines, or two of them measured the same case.

    Example:
        >>> one = Record(environment={"cpu": "a"}, device="cpu", threads=2, options={"only": "loss"}, titles={})
        >>> merge([one, one]).options
        {'only': ['loss', 'loss']}
    """
    first = records[0]
    for other in records[1:]:
        differences = [name for name in SAME if other.environment.get(name) != first.environment.get(name)]
        differences += [name for name in ("device", "threads") if getattr(other, name) != getattr(first, name)]
        if differences:
            problem = f"differ in {', '.join(differences)}"
            raise S2MNetError("the runs", problem, "Merge runs of one machine, with the same settings.")
    cases = [case for record in records for case in {one.case for one in record.measurements}]
    twice = sorted({str(case) for case in cases if cases.count(case) > 1})
    if twice:
        raise S2MNetError("the runs", f"measure {twice[0]} twice", "Leave one of those runs out.")
    merged = first.model_copy(deep=True)
    parts = [str(record.options.get("only") or "all") for record in records]
    merged.options = {"only": parts}
    commits: dict[str, list[str]] = {}
    for part, record in zip(parts, records, strict=True):
        commits.setdefault(str(record.environment.get("commit")), []).append(part)
    merged.environment["commit"] = ", ".join(f"{commit} ({', '.join(own)})" for commit, own in commits.items())
    for record in records[1:]:
        merged.measurements += record.measurements
        merged.left_out += record.left_out
        merged.bounds += record.bounds
        merged.largest += record.largest
        merged.titles |= record.titles
        merged.differences |= record.differences
    return merged
