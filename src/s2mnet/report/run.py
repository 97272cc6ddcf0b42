"""The report of a run folder: collects what the page shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s2mnet.data import Case, load_case
from s2mnet.data.channels import to_show
from s2mnet.evaluation.results import Evaluation, ImageResult
from s2mnet.fingerprint import Fingerprint
from s2mnet.network import SpectralSelectiveTokenMixer
from s2mnet.plan import Plan
from s2mnet.prediction import Predictor
from s2mnet.report.content import CaseFigure, Report, Role
from s2mnet.report.html import write

REPORT = "report.html"


def write_run_report(
    run: Path,
    title: str,
    plan: Plan,
    fingerprint: Fingerprint,
    predictor: Predictor,
    evaluation: Evaluation,
    cases: list[Case],
    split: str,
    provenance: dict[str, Any],
) -> Path:
    """Write ``run/report.html`` (see :func:`s2mnet.report.html.render`) and return its path."""
    by_name = {case.name: case for case in cases}
    figures = [
        _figure(by_name[result.name], result, role, predictor) for role, result in best_median_worst(evaluation).items()
    ]
    report = Report(
        title=title,
        class_names=list(plan.labels.structures),
        drawn=plan.labels.names[1:],
        counts={split: count for split, count in fingerprint.counts.items()},
        data_sentences=[
            f"Images of {fingerprint.size_range} pixels, "
            f"{', '.join(fingerprint.stored) or ('grey' if fingerprint.channels == 1 else 'colour')}.",
            f"Split: {fingerprint.split_rule}.",
            f"The foreground covers {100 * fingerprint.foreground_share:.1f} % of an image (median); "
            f"{fingerprint.thinnest} is {fingerprint.thickness_px:.1f} pixels thick.",
        ],
        label_sentences=[plan.labels.describe()],
        settings=_settings(plan, predictor),
        history=json.loads((run / "history.json").read_text()),
        evaluation=evaluation.model_dump(),
        evaluated_on="test" if split == "test" else "validation",
        cases=figures,
        filters=_filters(predictor),
        provenance=provenance,
        warnings=fingerprint.warnings,
    )
    return write(report, run / REPORT)


def best_median_worst(evaluation: Evaluation) -> dict[Role, ImageResult]:
    """The images with the highest, middle and lowest mean Dice (fewer if there are fewer images).

    Only images with a truth are chosen where there are any: agreeing on nothing makes a dull picture.
    """
    shown = [case for case in evaluation.cases if any(e in ("neither", "prediction") for e in case.empty.values())]
    ordered = sorted(shown or evaluation.cases, key=lambda case: case.mean("dice"))
    places: dict[Role, int] = {"best": len(ordered) - 1, "median": (len(ordered) - 1) // 2, "worst": 0}
    chosen: dict[int, Role] = {}
    for role, place in places.items():
        chosen.setdefault(place, role)
    return {role: ordered[place] for place, role in chosen.items()}


def _figure(case: Case, result: ImageResult, role: Role, predictor: Predictor) -> CaseFigure:
    image, truth = load_case(case, predictor.config.labels)
    prediction = predictor.predict(image, boundary=True)
    shown = to_show(image, predictor.config.preprocessing.stored)
    return CaseFigure(case.name, role, result.mean("dice"), shown, truth, prediction.indices, prediction.boundary)


def _settings(plan: Plan, predictor: Predictor) -> Mapping[str, object]:
    training, preprocessing = plan.training, plan.preprocessing
    budget = [
        f"{training.minutes:g} minutes" if training.minutes else "",
        f"{training.epochs} epochs" if training.epochs else "",
        f"{training.steps} steps" if training.steps else "",
    ]
    return {
        "preset": training.preset,
        "input": f"{preprocessing.extent}, {preprocessing.size[0]}×{preprocessing.size[1]} px",
        "channels": ", ".join(preprocessing.channels) + (" with CLAHE" if preprocessing.clahe else ""),
        "network": ", ".join([plan.architecture, *(f"{k} = {v}" for k, v in plan.network.items())]),
        "parameters": f"{sum(p.numel() for p in predictor.network.parameters()) / 1e6:.2f} million",
        "loss": f"{plan.loss} " + ", ".join(f"{k} = {v}" for k, v in plan.loss_options.items()),
        "optimiser": f"{training.optimiser}, {training.lr:g}, batches of {training.batch_size}",
        "budget": " or ".join(filter(None, budget)),
        "test-time transforms": plan.tta,
        "seed": training.seed,
    } | {f"why this {what}": reason for what, reason in plan.reasons.items()}


def _filters(predictor: Predictor) -> list[Any]:
    """|W| of each of the five stages, None where a stage has no mixer."""
    stages = []
    for stage in getattr(predictor.network, "stages", []):
        mixers = [m for m in stage.modules() if isinstance(m, SpectralSelectiveTokenMixer)]
        stages.append(mixers[0].spectral.response().abs().detach().cpu().numpy() if mixers else None)
    return stages
