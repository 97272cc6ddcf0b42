"""Train variants of the plan side by side and compare their validation Dice; the test split is not read.

    python experiments/compare.py DATA OUT [--epochs 6 | --minutes 15] [--size 96] [VARIANT ...]

DATA is a folder as ``s2mnet train`` reads it. Every variant gets the same plan, seed and steps (or time) otherwise;
each is one folder in OUT, and one that is finished is not run again. Ends with a table of what is in OUT.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from s2mnet.data import FolderSummary, find_cases, read_folder
from s2mnet.data.channels import COLOURS
from s2mnet.plan import Plan, make_plan
from s2mnet.provenance import environment
from s2mnet.training.run import train

VARIANTS: dict[str, dict[str, Any]] = {
    "uncertainty": {"loss_options": {"weighting": "uncertainty"}},
    "fixed": {"loss_options": {"weighting": "fixed"}},
    "learned": {"loss_options": {"weighting": "learned"}},
    "head-light": {"network": {"head": "light"}},
    "head-released": {"network": {"head": "released"}},
    "real-filter": {"network": {"complex_filter": False}},
    "no-sstm": {"network": {"num_frequencies": 0}},
    "dice-ce": {"loss": "dice_ce", "loss_options": {}},
    "planned": {},
    "rgb": {"preprocessing": {"channels": [*COLOURS], "clahe": False}},
    "green": {"preprocessing": {"channels": ["green"], "clahe": False}},
    "green-clahe": {"preprocessing": {"channels": ["green"], "clahe": True}},
    "each": {"preprocessing": {"normalisation": "image"}},
    "dataset": {"preprocessing": {"normalisation": "dataset"}},
}
PLANS: dict[str, dict[str, Any]] = {"whole-352": {"extent": "whole", "size": 352}}  # options of make_plan


def make_variant(summary: FolderSummary, name: str, options: dict[str, Any]) -> Plan:
    """The plan of a variant; parts joined by "+" are applied in turn."""
    parts = name.split("+")
    own = {key: value for part in parts for key, value in PLANS.get(part, {}).items()}
    plan = make_plan(summary, **(options | own))
    for part in parts:
        changes = {} if part in PLANS else VARIANTS[part]
        content = plan.model_dump() | changes
        if "preprocessing" in changes:
            content["preprocessing"] = plan.preprocessing.model_dump() | changes["preprocessing"]
            places = [COLOURS.index(channel) for channel in content["preprocessing"]["channels"] if channel in COLOURS]
            measured = {key: [getattr(summary, key)[place] for place in places] for key in ("mean", "std")}
            content["preprocessing"] |= measured if places else {}
        plan = Plan.model_validate(content)
    return plan


def run_variants(data: Path, out: Path, names: list[str], options: dict[str, Any]) -> None:
    """Train what is not finished."""
    folder = find_cases(data)
    summary = read_folder(folder)
    for name in names:
        if (out / name / "environment.json").exists():
            continue
        plan = make_variant(summary, name, options)
        train(folder, plan, out / name, resume=(out / name / "training" / "last.ckpt").exists())
        (out / name / "environment.json").write_text(json.dumps(environment(), indent=1))


def table(out: Path) -> str:
    """Markdown: the last and the best validation Dice of each variant, and the weights the loss ended with."""
    lines = [
        "| variant | steps | minutes | validation Dice, last epoch | best epoch | w core, bnd, str, sca, tex |",
        "|---|---|---|---|---|---|",
    ]
    for history in sorted(out.glob("*/history.json")):
        records = json.loads(history.read_text())
        weights = ", ".join(f"{w:.2f}" for w in records[-1].get("weights", {}).values())
        best = max(record["val_dice"] for record in records)
        name, steps = history.parent.name, records[-1]["steps"]
        last, minutes = records[-1]["val_dice"], records[-1]["seconds"] / 60
        lines.append(f"| {name} | {steps} | {minutes:.0f} | {last:.4f} | {best:.4f} | {weights} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    known = ", ".join([*VARIANTS, *PLANS])
    parser.add_argument("variants", nargs="*", help=f"some of {known}, or several joined by +; all if none is given")
    parser.add_argument("--epochs", type=int, help="length; 6 if neither is given")
    parser.add_argument("--minutes", type=float, help="length in time")
    parser.add_argument("--size", type=int, help="side of the input; planned if not given")
    asked = parser.parse_intermixed_args()
    length = {"epochs": asked.epochs or (None if asked.minutes else 6), "minutes": asked.minutes}
    run_variants(asked.data, asked.out, asked.variants or [*VARIANTS, *PLANS], {"size": asked.size, **length})
    print(table(asked.out))
