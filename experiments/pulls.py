"""Which term of MASL moves a trained network: the pull of each on the logits of training samples.

    python experiments/pulls.py RUN FOLDER [--samples 64]

RUN is a folder that ``s2mnet train`` or ``s2mnet experiment`` wrote, FOLDER the data that it was trained on. The pull
of a term is w_i α_i Σ |∂L_i/∂z| over the pixels of a sample (``MASL.pulls``), beside its value L_i; means over samples
and classes, those without foreground apart. The samples are those of the first epoch, augmented as in training. A run
that was trained with another loss is measured as well, with MASL's options as by default.
"""

from __future__ import annotations

from typing import cast

import torch
from trained import arguments, shuffled, stack

from s2mnet.loss import MASL
from s2mnet.training.module import build_loss, targets
from s2mnet_lab.markdown import table


def main() -> None:
    """Measure and print."""
    run, asked = arguments(__doc__, samples=64)
    plan, network, samples = run.plan, run.network(), run.samples()
    if plan.loss != "masl":
        plan = plan.model_copy(update={"loss": "masl", "loss_options": {}})
    criterion = cast(MASL, build_loss(plan))
    order = shuffled(samples)[: asked.samples]

    found = []  # of each sample and class: whether there is foreground, then value and pull of each term
    for start in range(0, len(order), 8):
        images, masks = stack(samples, 0, order[start : start + 8])
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
