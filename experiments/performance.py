"""docs/performance.md from several runs of `s2mnet bench` on one machine.

    s2mnet bench --size 352 --only spectral --repeats 9 -o runs/bench/spectral
    s2mnet bench --size 352 --only loss --batch 8 --repeats 5 -o runs/bench/loss
    s2mnet bench --size 352 --only train --batch 8 --repeats 5 --minutes 8 -o runs/bench/train \
        --contestant s2mnet --contestant s2mnet-straightforward --contestant s2mnet-straightforward-kept \
        --contestant segresnet
    s2mnet bench --size 128 --only train --batch 8 --repeats 9 --minutes 6 -o runs/bench/default \
        --contestant s2mnet --contestant s2mnet-straightforward --contestant s2mnet-straightforward-kept
    s2mnet bench --size 352 --only network --batch 1 --repeats 5 --minutes 12 -o runs/bench/network
    s2mnet bench --size 256 --size 1024 --only network --batch 1 --repeats 5 --minutes 4 -o runs/bench/growth \
        --contestant s2mnet --contestant s2mnet-torch --contestant s2mnet-openvino --contestant segresnet
    s2mnet bench --size 352 --only bound -o runs/bench/bound
    s2mnet bench --size 352 --only operations -o runs/bench/operations
    python experiments/performance.py runs/bench/*/bench.json --write docs/performance.md -o runs/bench

128² and 8 is what a plan trains on a CPU. docs/performance-avx512.md (AMD Zen 4) and docs/performance-zen5.md are of
other machines, their runs of training with three repeats and `--minutes 14`, those of networks with `--minutes 15`, on
Zen 5 with eleven repeats and `--minutes 20`. docs/performance-avx2.md (Zen 3) is of a fourth, its runs of training and
loss with three repeats. On a GPU, where networks are also compiled as a whole: `--batch 8 --batch 32 --precision bf16`
for networks and training.

One run of everything (`s2mnet bench --write docs/performance.md`) takes hours on two cores. Contestants are compared
within a run only; the page has a case from the run that measured it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from s2mnet_lab.bench import Record, write_page, write_record

SAME = ("cpu", "instructions", "gpu", "cpu_count", "torch")


def together(records: Sequence[Record]) -> Record:
    """One record of all cases.

    Raises:
        ValueError: records of different machines, or a case that two of them have.

    Example:
        >>> one = Record(environment={"cpu": "a"}, device="cpu", threads=2, options={"only": "loss"}, titles={})
        >>> together([one, one]).options
        {'only': ['loss', 'loss']}
    """
    first = records[0]
    for other in records[1:]:
        differs = [name for name in SAME if other.environment.get(name) != first.environment.get(name)]
        if differs or (other.device, other.threads) != (first.device, first.threads):
            raise ValueError(f"the runs differ in {', '.join(differs) or 'device or threads'}")
    cases = [case for record in records for case in {one.case for one in record.measurements}]
    if len(cases) != len(set(cases)):
        raise ValueError("two of the runs have the same case")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="+", type=Path, help="bench.json files")
    parser.add_argument("--write", type=Path, required=True, help="the page")
    parser.add_argument("-o", "--output", type=Path, help="also write bench.json of all there, for scaling.py")
    arguments = parser.parse_args()
    try:
        record = together([Record.model_validate_json(path.read_text()) for path in arguments.records])
    except ValueError as error:
        sys.exit(f"error: {error}")
    if arguments.output:
        write_record(record, arguments.output)
    print(write_page(record, arguments.write, arguments.write.parent / arguments.write.stem))


if __name__ == "__main__":
    main()
