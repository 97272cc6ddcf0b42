"""Which term of MASL moves a trained network: the pull of each on the logits of training samples."""

from __future__ import annotations

from typing import cast

import torch

from s2mnet.loss import MASL
from s2mnet.training.module import build_loss, targets
from s2mnet_lab.markdown import table
from s2mnet_lab.probe.trained import TrainedRun, shuffled, stack

BATCH = 8


def pulls_table(run: TrainedRun, count: int) -> str:
    """The pull w_i α_i Σ |∂L_i/∂z| of each term (:meth:`s2mnet.loss.MASL.pulls`) beside its value L_i.

    Means over samples and classes, separately for those with and without foreground. The samples are those of the first
    epoch, augmented as in training. For a run trained with another loss, MASL has its default options.

    Args:
        run: the trained network and its data.
        count: the number of samples.
    """
    plan, network, samples = run.plan, run.network(), run.samples()
    if plan.loss != "masl":
        plan = plan.model_copy(update={"loss": "masl", "loss_options": {}})
    criterion = cast(MASL, build_loss(plan))
    order = shuffled(samples)[:count]

    batches = []  # for each sample and class: whether it has foreground, then value and pull of each term
    for start in range(0, len(order), BATCH):
        images, masks = stack(samples, 0, order[start : start + BATCH])
        with torch.no_grad():
            logits = network(images)
        target = targets(masks, plan.labels)
        present = criterion.descriptors(target).size > 0
        batches.append(torch.cat([present[None], *criterion.pulls(logits, target)]).flatten(1))
    figures = torch.cat(batches, 1)
    rows = []
    for name, wanted in (("with foreground", True), ("without", False)):
        chosen = figures[1:, figures[0].bool() == wanted]
        if chosen.shape[1]:
            values, pulls = chosen.mean(1).chunk(2)
            rows += [
                [f"{name} ({chosen.shape[1]})", term, f"{value:.3f}", f"{1e3 * pull:.0f}", f"{pull / pulls[0]:.2f}"]
                for term, value, pull in zip(criterion.terms, values, pulls, strict=True)
            ]
    return table(["samples and classes", "term", "L", "pull × 1000", f"over {criterion.terms[0]}"], rows)
