"""The tables of a study in Markdown. Each is empty if the study has nothing for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from s2mnet_lab.markdown import relative, table
from s2mnet_lab.study.collected import Collected, Score
from s2mnet_lab.study.reported import DICE
from s2mnet_lab.study.result import result_path
from s2mnet_lab.study.statistics import Comparison, MeanComparison, corrected
from s2mnet_lab.study.study import Cell

NONE = "–"
SIGNIFICANT = 0.05


def overview(collected: Collected) -> str:
    """Dice of each row by data set and on their mean, and by how much the first row leads it."""
    tests, sets = len(collected.others), list(collected.study.data)
    head = ["", "parameters", *sets, "mean", "first row ahead by [95 %]", "seed by seed", f"p × {tests}"]
    rows = []
    for name, variant in collected.started.items():
        mean = collected.mean_score(name)
        comparison = collected.mean_comparison(name) if name in collected.others else None
        lead = [NONE, NONE, NONE] if name != collected.reference else ["", "", ""]
        # Without either, a lead by seed would be on a few of the sets, which the table does not show.
        if name in collected.others and (comparison or mean):
            lead[1] = seed_by_seed(collected, name) or NONE
        if comparison:
            some = f", {comparison.sets} set(s)" if comparison.sets < len(sets) else ""
            lead[0] = points(comparison) + some + _seeds_compared(collected, name)
            p = corrected(comparison.p, tests)
            lead[2] = f"**{p:.4f}**" if p < SIGNIFICANT else f"{p:.3f}"
        scores = [collected.score(dataset, name) for dataset in sets]
        rows.append([variant.title, _parameters(collected, name), *map(percent, scores), f"**{percent(mean)}**", *lead])
    return table(head, rows)


def _seeds_compared(collected: Collected, name: str) -> str:
    """Whose images are compared, where borrowed trainings give more seeds than that."""
    compared = collected.common_seeds(list(collected.study.data), collected.reference, name)
    fewer = collected.borrowed and len(compared) < len(collected.lead_by_seed(name))
    return f", seed {', '.join(map(str, compared))}" if fewer else ""


def seed_by_seed(collected: Collected, name: str) -> str:
    """The lead of the first row over another with each seed; empty if no seed is complete."""
    return ", ".join(f"{lead:+.1f}" for lead in collected.lead_by_seed(name))


def against_reported(collected: Collected) -> str:
    """Measured beside reported Dice."""
    rows = []
    for name, variant in collected.started.items():
        reported = [DICE.get((variant.reported, dataset)) for dataset in collected.study.data]
        if any(value is not None for value in reported):
            pairs = zip((collected.score(dataset, name) for dataset in collected.study.data), reported, strict=True)
            rows.append([variant.title, *(f"{percent(ours)} / {theirs or NONE}" for ours, theirs in pairs)])
    return table(["measured / reported", *collected.study.data], rows) if rows else ""


def reproduced(collected: Collected) -> str:
    """What the authors say that leaving a part out costs, beside what was measured."""
    study = collected.study
    whole = study.variants[collected.reference].reported
    rows = []
    for name in collected.others:
        variant = study.variants[name]
        for dataset in study.data:
            comparison = collected.comparison(dataset, name)
            if (variant.reported, dataset) in DICE and (whole, dataset) in DICE and comparison:
                claimed = DICE[whole, dataset] - DICE[variant.reported, dataset]
                verdict = _verdict(claimed, 100 * comparison.low, 100 * comparison.high)
                rows.append([variant.title, dataset, f"{claimed:+.2f}", points(comparison), verdict])
    return table(["", "data set", "reported gain", "measured", ""], rows) if rows else ""


def _verdict(claimed: float, low: float, high: float) -> str:
    """What an interval says about a reported gain."""
    if low <= claimed <= high:
        return "within our interval"
    return "more than reported" if low > claimed > 0 else "not reproduced"


def validation(collected: Collected) -> str:
    """What each row reached on validation images, by which epochs and defaults are chosen."""
    sets = list(collected.study.data)
    rows = [
        [variant.title, *(percent(collected.validated(name, *chosen)) for chosen in (*([one] for one in sets), sets))]
        for name, variant in collected.started.items()
    ]
    return table(["on validation images", *sets, "mean"], rows) if rows else ""


def comparisons(collected: Collected) -> str:
    """The first row against each other row on each data set."""
    study = collected.study
    tests = len(collected.others) * len(study.data)
    title = study.variants[collected.reference].title
    head = ["", f"{title} against", "images", "seeds", "ahead by [95 %]", "effect d [95 %]", "p", f"p × {tests}"]
    rows = []
    for dataset in study.data:
        for name in collected.others:
            comparison = collected.comparison(dataset, name)
            if comparison is None:
                continue
            p = corrected(comparison.p, tests)
            rows.append(
                [
                    dataset,
                    study.variants[name].title,
                    str(comparison.images),
                    str(len(collected.seeds(dataset, collected.reference, name))),
                    points(comparison),
                    f"{comparison.effect:+.2f} [{comparison.effect_low:+.2f}, {comparison.effect_high:+.2f}]",
                    f"{comparison.p:.2g}",
                    f"**{p:.2g}**" if p < SIGNIFICANT else f"{p:.2g}",
                ]
            )
    return table(head, rows) if rows else ""


def elsewhere(collected: Collected) -> str:
    """Dice on data sets that a model was not trained on."""
    rows = []
    for dataset, choice in collected.study.data.items():
        for where in choice.also_test:
            for name, variant in collected.study.variants.items():
                at_home, away = collected.score(dataset, name), collected.score(dataset, name, where)
                tested = (result.elsewhere.get(where) for result in collected.results.values())
                images = next((str(len(measured.names)) for measured in tested if measured), NONE)
                rows.append([dataset, where, images, variant.title, percent(at_home), percent(away)])
    return table(["trained on", "tested on", "images", "", "Dice at home", "Dice there"], rows) if rows else ""


def losses(collected: Collected) -> str:
    """The weights that the loss ended with, where it learns them."""
    rows = []
    for name, variant in collected.study.variants.items():
        last = [result.history[-1].get("weights") for result in collected.of_variant(name)]
        weights = [values for values in last if values]
        if weights and variant.loss_options.get("weighting", "fixed") != "fixed":
            means = {term: np.mean([values[term] for values in weights]) for term in weights[0]}
            rows.append([variant.title, ", ".join(f"{term} {value:.2f}" for term, value in means.items())])
    return table(["", "weights w at the end, mean over data sets and seeds"], rows) if rows else ""


def searched(collected: Collected) -> str:
    """The learning rate that was best on validation for each row and data set."""
    search = collected.study.search
    if not search:
        return ""
    rows = []
    for name, variant in collected.study.variants.items():
        best = []
        for dataset in collected.study.data:
            trials = [trial for trial in collected.trials.values() if (trial.dataset, trial.variant) == (dataset, name)]
            complete = len(trials) == len(search.lr)
            best.append(f"{max(trials, key=lambda trial: trial.best_dice).lr:g}" if complete else NONE)
        rows.append([variant.title, *best])
    return table(["highest learning rate", *collected.study.data], rows)


def files(collected: Collected, results: Path, page: Path) -> str:
    """A link to the file of each cell by its seed, in brackets if it is missing; rows without any file in one line."""
    study = collected.study

    def link(cell: Cell) -> str:
        key = (cell.dataset, cell.variant, cell.seed)
        if key in collected.results:
            return f"[{cell.seed}]({relative(result_path(results, study, cell), page)})"
        if key in collected.borrowed:
            lender = collected.borrowed[key]
            file = results / lender.study / f"{Cell(lender.dataset, lender.variant, lender.seed)}.json"
            return f"[({cell.seed}: {lender.study})]({relative(file, page)})"
        return f"({cell.seed})"

    missing = [f"{name} ({row.title})" for name, row in study.variants.items() if name not in collected.started]
    rows = [
        [name, *(" ".join(link(Cell(dataset, name, seed)) for seed in study.seeds) for dataset in study.data)]
        for name in collected.started
    ]
    parts = [table(["file by seed; (missing)", *study.data], rows)] if rows else []
    if missing:
        seeds, sets = ", ".join(map(str, study.seeds)), ", ".join(study.data)
        parts.append(f"No cell yet, of seeds {seeds} on {sets}: {'; '.join(missing)}.")
    return "\n\n".join(parts)


def progress(collected: Collected) -> str:
    """How many cells have a result."""
    return f"{len(collected.results)} of {collected.size} cells"


def origins(collected: Collected) -> str:
    """Machines, versions, commits and times of the results."""
    results = list(collected.results.values())
    if not results:
        return "No cell has been run yet."

    def counted(values: Sequence[str]) -> str:
        return ", ".join(f"{value} ({count} cells)" for value, count in Counter(values).most_common())

    environments = [result.environment for result in results]
    hours = sum(sum(result.seconds.values()) for result in results) / 3600
    borrowed = f"; {len(collected.borrowed)} more that another study has trained" if collected.borrowed else ""
    medians = {
        name: np.median([sum(result.seconds.values()) for result in collected.of_variant(name)])
        for name in collected.started
        if collected.of_variant(name)
    }
    lines = [
        f"{progress(collected)}, {hours:.1f} hours{borrowed}",
        "processor: " + counted([f"{env['gpu'] or env['cpu']}, {env['threads']} thread(s)" for env in environments]),
        "commit: " + counted([f"`{env['commit'] or 'unknown'}`" for env in environments]),
        "torch: " + counted([str(env["torch"]) for env in environments]),
        "seconds of a cell: " + "; ".join(f"{name} {seconds:.0f}" for name, seconds in medians.items()),
        "images (train, val, test): " + "; ".join(_counts(collected, dataset) for dataset in collected.study.data),
    ]
    return "\n".join(f"- {line}" for line in lines)


def percent(score: Score | None) -> str:
    """Mean ± standard deviation over seeds."""
    if score is None:
        return NONE
    return f"{score.mean:.2f}" + (f" ± {score.std:.2f}" if score.std is not None else "")


def points(comparison: Comparison | MeanComparison, unit: str = "") -> str:
    """A difference with its interval in points of Dice."""
    bounds = f"[{100 * comparison.low:+.2f}, {100 * comparison.high:+.2f}]"
    return f"{100 * comparison.difference:+.2f} {unit}{bounds}"


def _parameters(collected: Collected, variant: str) -> str:
    trainings = [result for (_, name, _), result in collected.trainings.items() if name == variant]
    return ", ".join(sorted({f"{result.parameters / 1e6:.1f} M" for result in trainings}))


def _counts(collected: Collected, dataset: str) -> str:
    counts = next((r.split.counts for (name, _, _), r in collected.results.items() if name == dataset), None)
    return f"{dataset} {', '.join(map(str, counts.values())) if counts else NONE}"
