"""The model card: what a stranger must know of a model, from what its run folder holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from s2mnet.data.dataset import Dataset
from s2mnet.evaluation.metrics import metrics_in
from s2mnet.evaluation.records import MEAN, Evaluation
from s2mnet.modelfolder import ModelConfig
from s2mnet.plan import Plan
from s2mnet.text import counted, listed
from s2mnet.version import __version__

_TEMPLATE = """---
{{ card_data }}
---
# {{ title }}

A 2-D segmentation model ({{ labels }}): [S2M-Net](https://arxiv.org/abs/2601.01285), trained with s2mnet {{ version }}.
It is for research. It is not a medical device, and nobody has checked it for clinical use.

## How to use

```
pip install s2mnet
s2mnet predict USER/REPOSITORY IMAGES -o OUT
```

```python
from s2mnet import Predictor

prediction = Predictor("USER/REPOSITORY").predict("image.png")
prediction.mask  # (H, W), label values
prediction.probabilities  # (outputs, H, W)
```

Put the name of the repository, or the path of this folder, in place of `USER/REPOSITORY`.

## Data

{% for line in data %}{{ line }}
{% endfor %}
## Figures

{% if rows %}Measured on the {{ split }} split{{ of }}{{ tta }}. In brackets: the 95 % interval of the mean (bootstrap).

| over | structure | {{ heads | join(" | ") }} |
|---|---|{{ "---|" * heads | length }}
{% for row in rows %}| {{ row | join(" | ") }} |
{% endfor %}{% if split == "val" %}
The model was chosen on this split, so these figures are optimistic.
{% endif %}{% else %}There are none: the run folder holds no test.
{% endif %}
{% if pictures %}## Pictures

The best, the median and the worst image. Filled: the prediction; yellow: the expert.

{% for name, text in pictures %}![{{ text }}](pictures/{{ name }})
{% endfor %}
{% endif %}## Training

{% for line in training %}- {{ line }}
{% endfor %}
## Limits

{% for line in limits %}- {{ line }}
{% endfor %}
## Licence

{{ licence }}
"""


class Facts(NamedTuple):
    """What a card is made from.

    Attributes:
        config: of the model.
        title: of the card, such as the name of the data set.
        dataset: the ``dataset.yaml`` of the training data; an empty one if there is none.
        counts: images of each split; empty if the data are gone.
        evaluation, split: the test, or None and "".
        plan: of the training, if the folder holds it.
        pictures: file name and description of each.
    """

    config: ModelConfig
    title: str
    dataset: Dataset
    counts: dict[str, int]
    evaluation: Evaluation | None
    split: str
    plan: Plan | None
    pictures: Sequence[tuple[str, str]]


def model_card(facts: Facts) -> str:
    """The text of ``README.md``: Markdown behind the metadata that the Hugging Face Hub reads."""
    evaluation = facts.evaluation
    data = ModelCardData(
        library_name="s2mnet",
        license="other",
        pipeline_tag="image-segmentation",
        tags=["image-segmentation", "medical", "s2mnet"],
        model_name=_safe(facts.title),
        eval_results=_results(facts),
    )
    card = ModelCard.from_template(
        data,
        template_str=_TEMPLATE,
        title=_safe(facts.title),
        labels=_safe(facts.config.labels.describe()),
        version=__version__,
        data=_data(facts),
        heads=[_head(metric.title, metric.unit) for metric in metrics_in(evaluation.unit if evaluation else "px")],
        rows=_rows(evaluation) if evaluation else [],
        split=facts.split,
        of=f" of {_safe(facts.dataset.name)}" if facts.dataset.name else "",
        tta=f", mean over {facts.config.tta} views of each image" if facts.config.tta > 1 else "",
        pictures=facts.pictures,
        training=_training(facts),
        limits=_limits(facts),
        licence=_licence(facts.dataset),
    )
    return str(card)


def _safe(text: str) -> str:
    """One line of text without what Markdown or HTML would take for an instruction."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _head(title: str, unit: str) -> str:
    return f"{title} ({unit})" if unit else title


def _rows(evaluation: Evaluation) -> list[list[str]]:
    rows = []
    for noun, group in evaluation.groups().items():
        names = [*evaluation.class_names, *([MEAN] if len(evaluation.class_names) > 1 else [])]
        for name in names:
            summary = group.summary[name]
            cells = [summary[metric.name] for metric in metrics_in(group.unit)]
            figures = [f"{cell.mean:.3f} [{cell.low:.3f}, {cell.high:.3f}]" for cell in cells]
            rows.append([counted(len(group.cases), noun), _safe(name), *figures])
    return rows


def _results(facts: Facts) -> list[EvalResult] | None:
    if not (facts.evaluation and facts.evaluation.cases):
        return None
    name = facts.dataset.name or facts.title
    kind = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "unknown"
    return [
        EvalResult(
            "image-segmentation",
            kind,
            name,
            "dice",
            round(values["dice"].mean, 4),
            metric_name=f"Dice, {structure}",
            dataset_split=facts.split,
        )
        for structure, values in facts.evaluation.summary.items()
        if structure != MEAN
    ]


def _data(facts: Facts) -> list[str]:
    known, lines = facts.dataset, []
    for what, text in (
        ("Data set", known.name), ("Modality", known.modality), ("Source", known.source), ("Citation", known.citation),
        ("Terms", known.terms), ("Split", known.split),
    ):  # fmt: skip
        lines += [f"- {what}: {_safe(text)}"] if text else []
    if facts.counts:
        lines.append(f"- Images: {listed([f'{count} {split}' for split, count in facts.counts.items()])}")
    return lines or ["Unknown: the training data have no dataset.yaml, or are no longer there."]


def _training(facts: Facts) -> list[str]:
    preprocessing, plan = facts.config.preprocessing, facts.plan
    extent = "resized to" if preprocessing.extent == "whole" else "in windows of"
    size = f"{preprocessing.size[0]} × {preprocessing.size[1]} px"
    lines = [f"Input: {listed([_safe(name) for name in preprocessing.channels])}, {extent} {size}"]
    if start := facts.config.started_from:
        lines.append(f"Started from {_safe(start.name)} (sha256 {start.sha256})")
    if plan:
        training = plan.training
        budget = {"minutes": training.minutes, "epochs": training.epochs, "steps": training.steps}
        limits = [f"{value:g} {name}" for name, value in budget.items() if value]
        lines.append(f"Recipe: {training.preset}, {plan.loss}, seed {training.seed}, at most {' or '.join(limits)}")
    context = facts.evaluation.context if facts.evaluation else {}
    if context.get("torch"):
        lines.append(f"Measured with s2mnet {context.get('s2mnet')}, PyTorch {context['torch']}, {context.get('date')}")
    return lines


def _limits(facts: Facts) -> list[str]:
    modality = f"{_safe(facts.dataset.modality)} images" if facts.dataset.modality else "images"
    patients = facts.evaluation.patients if facts.evaluation else None
    return [
        f"It knows {modality} like those of its training data. On others, such as of another scanner, hospital or "
        "population, it may fail without notice.",
        f"It always answers: each pixel becomes one of {_safe(facts.config.labels.describe())}.",
        "The figures above are of one split of one data set"
        + ("." if patients else ", and patients may have images in both its parts: the data do not say."),
    ]


def _licence(dataset: Dataset) -> str:
    own = "The code of s2mnet is under the Apache License 2.0. For the weights, see the terms of the training data"
    stated = "; ".join(_safe(text) for text in (dataset.licence, dataset.terms) if text)
    return f"{own}: {stated}" if stated else f"{own}, which the data folder does not state."
