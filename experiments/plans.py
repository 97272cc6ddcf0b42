"""The plans for public data sets, from their fingerprints, as a table for docs/plans.md.

    python experiments/plans.py SHARED OUT [--write docs/plans.md]

SHARED holds the downloads, one folder for each set; OUT gets their data folders (kept for the next time). The machine
is a stated one, a CPU of 16 GiB that trains 0.15 megapixels a second, so that the table does not depend on this one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from s2mnet.data import find_cases
from s2mnet.datasets import prepare
from s2mnet.files import write_atomically
from s2mnet.fingerprint import Fingerprint, read_folder
from s2mnet.plan import Machine, Plan, make_plan
from s2mnet.provenance import environment

SETS = ("DRIVE", "STARE", "Kvasir-SEG", "BUSI", "GlaS", "ACDC", "ISIC2018")
NAMES = {"ISIC2018": "ISIC-2018"}
LAPTOP = Machine(memory=16 * 2**30, speed=150_000)
HEAD = [
    "| data set | images (train) | size, median | thinnest class | contrast (red, green, blue) | extent | input "
    "| channels | normalisation | augmentation | `paper` preset |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
]


def row(name: str, summary: Fingerprint, plan: Plan, paper: Plan) -> str:
    """One line of the table."""
    p, full = plan.preprocessing, paper.preprocessing
    cells = [
        name,
        f"{sum(summary.counts.values())} ({summary.counts['train']})",
        f"{summary.height.median:.0f}×{summary.width.median:.0f}",
        f"{summary.thickness_px:.1f} px ({summary.thinnest})",
        ", ".join(f"{value:.2f}" for value in summary.contrast),
        p.extent,
        f"{p.size[0]}²",
        " ".join(p.channels) + (", CLAHE" if p.clahe else ""),
        p.normalisation,
        plan.reasons["augmentation"].partition(":")[0],
        f"{full.extent}, {full.size[0]}²" + (", CLAHE" if full.clahe else ""),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prepare what is missing, plan, print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    rows, reasons = [], []
    for name in SETS:
        folder = asked.out / name
        if not folder.exists():
            prepare(NAMES.get(name, name), asked.shared / name, folder)
        summary = read_folder(find_cases(folder))
        plan = make_plan(summary, machine=LAPTOP)
        rows.append(row(name, summary, plan, make_plan(summary, preset="paper", machine=LAPTOP)))
        reasons += [f"**{name}**", "", *(f"- {what}: {why}" for what, why in plan.reasons.items()), ""]
    made = environment()
    text = "\n".join(
        [
            "# Plans from fingerprints",
            "",
            "What `s2mnet plan` decides for seven public sets on a laptop's CPU in 30 minutes, and the `paper` preset",
            "beside it. Thin structures in large images end in windows at native resolution, compact ones in whole",
            "images.",
            "",
            f"`python experiments/plans.py SHARED OUT --write docs/plans.md`, commit {made['commit']}. ACDC is the 40",
            "patients and ISIC-2018 the 51 images that were at hand.",
            "",
            *HEAD,
            *rows,
            "",
            "## Reasons, as the plans give them",
            "",
            *reasons,
        ]
    )
    if asked.write:
        write_atomically(asked.write, text.encode())
    else:
        print(text)


if __name__ == "__main__":
    main()
