"""Which term of MASL moves a trained network: the pull of each on the logits of training samples.

    python experiments/pulls.py RUN FOLDER [--samples 64]

RUN is a folder that ``s2mnet train`` or ``s2mnet experiment`` wrote, FOLDER the data that it was trained on. The pull
of a term is w_i α_i Σ |∂L_i/∂z| over the pixels of a sample (``MASL.pulls``), beside its value L_i; means over samples
and classes, those without foreground apart. The samples are those of the first epoch, augmented as in training. A run
that was trained with another loss is measured as well, with MASL's options as by default.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import torch

from s2mnet.data import find_cases
from s2mnet.loss import MASL
from s2mnet.markdown import table
from s2mnet.modelfolder import load_model
from s2mnet.plan import Plan
from s2mnet.training.module import build_loss, targets
from s2mnet.training.run import PLAN
from s2mnet.training.samples import TrainingSamples
from s2mnet.training.store import PreparedCases, cache_folder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=64)
    asked = parser.parse_args()
    plan = Plan.load(asked.run / PLAN)
    network, _ = load_model(asked.run)
    train = find_cases(asked.folder).splits["train"]
    cases = PreparedCases(train, plan.preprocessing, plan.labels, True, cache_folder(), "train")
    samples = TrainingSamples(cases, plan)
    if plan.loss != "masl":
        plan = plan.model_copy(update={"loss": "masl", "loss_options": {}})
    criterion = cast(MASL, build_loss(plan))
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[: asked.samples].tolist()

    found = []  # of each sample and class: whether there is foreground, then value and pull of each term
    for start in range(0, len(order), 8):
        images, masks = map(torch.stack, zip(*(samples[0, index] for index in order[start : start + 8]), strict=True))
        with torch.no_grad():
            logits = network(images)
        target = targets(masks, plan.labels)
        present = criterion.descriptors(target).size > 0
        found.append(torch.cat([present[None], *criterion.pulls(logits, target)]).flatten(1))
    figures = torch.cat(found, 1)
    rows = []
    for name, wanted in (("with foreground", True), ("without", False)):
        of = figures[1:, figures[0].bool() == wanted]
        if of.shape[1]:
            values, pulls = of.mean(1).chunk(2)
            rows += [
                [f"{name} ({of.shape[1]})", term, f"{value:.3f}", f"{1e3 * pull:.0f}", f"{pull / pulls[0]:.2f}"]
                for term, value, pull in zip(criterion.terms, values, pulls, strict=True)
            ]
    print(table(["samples and classes", "term", "L", "pull × 1000", f"over {criterion.terms[0]}"], rows))


if __name__ == "__main__":
    main()
