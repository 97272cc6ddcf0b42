"""The report of a run folder: collects what the page shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from s2mnet.evaluation.examples import CaseFigure
from s2mnet.evaluation.records import Evaluation
from s2mnet.fingerprint import Fingerprint
from s2mnet.network import S2MNet
from s2mnet.pages.render import write_page
from s2mnet.plan import PAPER_ENCODER, Plan
from s2mnet.report.content import Report
from s2mnet.report.page import render
from s2mnet.text import counted

REPORT = "report.html"


def write_run_report(
    run: Path,
    title: str,
    plan: Plan,
    fingerprint: Fingerprint,
    network: nn.Module,
    evaluation: Evaluation,
    examples: Sequence[CaseFigure],
    split: str,
    provenance: Mapping[str, Any],
) -> Path:
    """Write ``run/report.html`` (see :func:`s2mnet.report.page.render`) and return its path.

    Args:
        run: holds the ``history.json`` of the training.
        title: of the page, such as the name of the data set.
        plan: what was trained.
        fingerprint: of the data it was trained on.
        network: as trained, for its spectral filters.
        evaluation: of ``split``.
        examples: the cases to draw.
        split: "test" or "val".
        provenance: how the run was made, by name.
    """
    report = Report(
        title=title,
        class_names=list(plan.labels.structures),
        drawn=plan.labels.names[1:],
        counts={split: count for split, count in fingerprint.counts.items()},
        data_sentences=_data_sentences(fingerprint),
        label_sentences=[f"The masks hold {plan.labels.describe()}."],
        settings=_settings(plan, network),
        reasons=plan.reasons,
        history=json.loads((run / "history.json").read_text()),
        evaluation=evaluation,
        evaluated_on="test" if split == "test" else "validation",
        cases=examples,
        filters=_filters(network),
        provenance=provenance,
        warnings=fingerprint.warnings,
    )
    return write_page(render(report), run / REPORT)


def _data_sentences(data: Fingerprint) -> list[str]:
    channels = ", ".join(data.stored) or ("grey" if data.channels == 1 else "colour")
    classes = len(data.label_map.names) if data.label_map else 0
    thinnest = f"; the thinnest class, {data.thinnest}, is" if classes > 2 else " and is"
    return [
        f"Images of {data.size_range} px; {channels}.",
        f"Split: {data.split_rule}.",
        f"The foreground covers {100 * data.foreground_share:.1f} % of an image (median){thinnest} "
        f"{data.thickness_px:.1f} px thick (mean of a mask, median over masks).",
    ]


def _settings(plan: Plan, network: nn.Module) -> dict[str, object]:
    training, preprocessing = plan.training, plan.preprocessing
    budget = [
        f"{training.minutes:g} min" if training.minutes else "",
        counted(training.epochs, "epoch") if training.epochs else "",
        counted(training.steps, "step") if training.steps else "",
    ]
    return {
        "preset": training.preset,
        "input": f"{preprocessing.extent}, {preprocessing.size[0]} × {preprocessing.size[1]} px",
        "channels": ", ".join(preprocessing.channels) + (" with CLAHE" if preprocessing.clahe else ""),
        "network": _title(network, plan.architecture),
        "start": plan.start,
        "options of the network": _with_options(plan.architecture, plan.network),
        "parameters": f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} million",
        "loss": _with_options(plan.loss, plan.loss_options),
        "optimiser": f"{training.optimiser}, learning rate {training.lr:g}, batches of {training.batch_size}",
        "budget": " or ".join(filter(None, budget)),
        "test-time transforms": plan.tta,
        "seed": training.seed,
    }


def _title(network: nn.Module, architecture: str) -> str:
    if not isinstance(network, S2MNet):
        return architecture
    if network.encoder == PAPER_ENCODER:
        return "S2M-Net with the paper's encoder"
    return f"S2M-Net over EfficientNet-{network.encoder.capitalize()}: our encoder, not the paper's"


def _with_options(name: str, options: Mapping[str, object]) -> str:
    return ", ".join([name, *(f"{key} = {value}" for key, value in options.items())])


def _filters(network: nn.Module) -> list[Any]:
    """|W| of each of the five stages, None where a stage has no mixer."""
    mixers = network.mixers if isinstance(network, S2MNet) else []
    return [mixer.spectral.response().abs().detach().cpu().numpy() if mixer else None for mixer in mixers]
