"""The tables of docs/results.md, from the files of finished runs; no figure is typed by hand.

    python experiments/results.py docs/results.md [--runs RUN [RUN ...]] [--compare OUT [OUT ...]] [--planned OUT …]

RUN is a folder that ``s2mnet train`` wrote, OUT one that ``experiments/compare.py`` wrote. Replaces what stands
between the marker lines of docs/results.md; a part that is not asked for stays as it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from compare import table as comparison

from s2mnet.evaluation.results import MEAN
from s2mnet.files import write_atomically

BEGIN, END = "<!-- {} begin -->", "<!-- {} end -->"


def runs_table(runs: list[Path]) -> str:
    """Markdown: one row per run, then how each was made."""
    lines = [
        "| run | images | Dice [95 % interval] | IoU | HD95, px | surface Dice, 2 px | complete misses |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    for run in runs:
        found = json.loads((run / "evaluation" / "test" / "metrics.json").read_text())
        mean = found["summary"][MEAN]
        dice = f"**{mean['dice']['mean']:.3f}** [{mean['dice']['low']:.3f}, {mean['dice']['high']:.3f}]"
        rest = f"{mean['iou']['mean']:.3f} | {mean['hd95']['mean']:.1f} | {mean['surface_dice']['mean']:.3f}"
        missed = sum(count["complete_misses"] for count in found["empty"].values())
        lines.append(f"| {run.name} | {len(found['cases'])} | {dice} | {rest} | {missed} |")
        made, last = found["context"], json.loads((run / "history.json").read_text())
        best = max(last, key=lambda record: record["val_dice"])
        how = (
            f"`{made['command']}`; seed {made['seed']}, commit `{made['commit'][:10]}`, {made['date'][:10]}",
            f"{made['gpu'] or made['cpu']}, {made['threads']} thread(s), torch {made['torch']}",
            f"{last[-1]['steps']} steps in {last[-1]['seconds'] / 60:.0f} minutes",
            f"best validation Dice {best['val_dice']:.3f} after epoch {best['epoch']} of {len(last)}",
            f"test-time transforms: {made['tta']}",
        )
        notes.append(f"- {run.name}: {'; '.join(how)}.")
    return "\n".join([*lines, "", *notes])


def compare_tables(folders: list[Path]) -> str:
    """Markdown: the table of each comparison with how it was made."""
    parts = []
    for folder in folders:
        made = [json.loads(file.read_text()) for file in sorted(folder.glob("*/environment.json"))]
        commits = ", ".join(sorted({f"`{m['commit'][:10]}`" for m in made}))
        parts.append(f"{folder.name} (commit {commits}, {made[0]['cpu']}, torch {made[0]['torch']}, seed 42):")
        parts.append(comparison(folder))
    return "\n\n".join(parts)


def replace(text: str, name: str, content: str) -> str:
    """The text with new content between two marker lines."""
    begin, end = BEGIN.format(name), END.format(name)
    before, rest = text.split(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path)
    for part in ("runs", "compare", "planned"):
        parser.add_argument(f"--{part}", type=Path, nargs="+", default=[])
    asked = parser.parse_args()
    text = asked.document.read_text(encoding="utf-8")
    for part in ("runs", "compare", "planned"):
        if folders := getattr(asked, part):
            text = replace(text, part, runs_table(folders) if part == "runs" else compare_tables(folders))
    write_atomically(asked.document, text.encode())
