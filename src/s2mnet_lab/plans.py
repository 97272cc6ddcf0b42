"""docs/plans.md: the plans for public data sets, from their fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from s2mnet.data import find_cases
from s2mnet.datasets import prepare
from s2mnet.fingerprint import Fingerprint, read_folder
from s2mnet.plan import Machine, Plan, make_plan
from s2mnet.provenance import environment

SETS = ("DRIVE", "STARE", "Kvasir-SEG", "BUSI", "GlaS", "ACDC", "ISIC2018")
NAMES = {"ISIC2018": "ISIC-2018"}  # folder of the download → name of the data set
LAPTOP = Machine(memory=16 * 2**30, speed=150_000)
HEAD = """\
| data set | images (train) | size, median | thinnest class | contrast (red, green, blue) | extent | input \
| channels | normalisation | augmentation | `paper` preset |
|---|---|---|---|---|---|---|---|---|---|---|"""


def plans_page(downloads: Path, work: Path, sets: Sequence[str] = SETS) -> str:
    """The page, as Markdown. The machine is :data:`LAPTOP`, so that the page does not depend on this one.

    Args:
        downloads: holds a folder for each data set, as downloaded.
        work: gets the prepared data folders; those that exist are reused.
        sets: folders of ``downloads``.
    """
    rows, reasons = [], []
    for name in sets:
        folder = work / name
        if not folder.exists():
            prepare(NAMES.get(name, name), downloads / name, folder)
        fingerprint = read_folder(find_cases(folder))
        plan = make_plan(fingerprint, machine=LAPTOP)
        rows.append(row(name, fingerprint, plan, make_plan(fingerprint, preset="paper", machine=LAPTOP)))
        reasons += [f"**{name}**", "", *(f"- {what}: {why}" for what, why in plan.reasons.items()), ""]
    return TEXT.format(
        commit=environment()["commit"], table="\n".join([HEAD, *rows]), reasons="\n".join(reasons).rstrip()
    )


def row(name: str, fingerprint: Fingerprint, plan: Plan, paper: Plan) -> str:
    """One row of the table: a data set, its plan, and its plan with the ``paper`` preset."""
    p, full = plan.preprocessing, paper.preprocessing
    height, width = (spread.median if spread else 0 for spread in (fingerprint.height, fingerprint.width))
    cells = [
        name,
        f"{sum(fingerprint.counts.values())} ({fingerprint.counts['train']})",
        f"{height:.0f}×{width:.0f}",
        f"{fingerprint.thickness_px:.1f} px ({fingerprint.thinnest})",
        ", ".join(f"{value:.2f}" for value in fingerprint.contrast),
        p.extent,
        f"{p.size[0]}²",
        " ".join(p.channels) + (", CLAHE" if p.clahe else ""),
        p.normalisation,
        plan.reasons["augmentation"].partition(":")[0],
        f"{full.extent}, {full.size[0]}²" + (", CLAHE" if full.clahe else ""),
    ]
    return f"| {' | '.join(cells)} |"


TEXT = """\
# Plans from fingerprints

The decisions of `s2mnet plan` for seven public data sets, on a laptop's CPU with 30 minutes of training, and those of
the `paper` preset. Data sets with thin structures in large images are trained on windows at native resolution, those
with compact structures on whole images.

Written by `s2mnet-lab plans DOWNLOADS WORK --write docs/plans.md`, commit {commit}. ACDC has the 40 patients and
ISIC-2018 the 51 images that were available.

{table}

## Reasons given by the plans

{reasons}
"""
