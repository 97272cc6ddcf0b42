"""The tables of a study in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from s2mnet_lab.markdown import relative, table
from s2mnet_lab.study.collected import Collected, Score
from s2mnet_lab.study.reported import DICE
from s2mnet_lab.study.result import CellResult, result_path
from s2mnet_lab.study.statistics import corrected
from s2mnet_lab.study.study import Cell

NONE = "–"
SIGNIFICANT = 0.05


def overview(found: Collected) -> str:
    """Dice of each row by data set and on their mean, and what the first row is ahead of it."""
    tests = len(found.others)
    head = ["", "parameters", *found.study.data, "mean", "first row ahead by [95 %]", "seed by seed", f"p × {tests}"]
    rows = []
    for name, variant in found.begun.items():
        mean = found.mean_score(name)
        comparison = found.mean_comparison(name) if name in found.others else None
        ahead = [NONE, NONE, NONE] if name != found.reference else ["", "", ""]
        if name in found.others and (
            comparison or mean
        ):  # without either, a lead by seed would be of a few sets, unsaid
            ahead[1] = seed_by_seed(found, name) or NONE
        if comparison:
            bounds = f"[{100 * comparison.low:+.2f}, {100 * comparison.high:+.2f}]"
            bounds += f", {comparison.sets} set(s)" if comparison.sets < len(found.study.data) else ""
            bounds += _seeds_compared(found, name)
            p = corrected(comparison.p, tests)
            ahead[0] = f"{100 * comparison.difference:+.2f} {bounds}"
            ahead[2] = f"**{p:.4f}**" if p < SIGNIFICANT else f"{p:.3f}"
        scores = [found.score(dataset, name) for dataset in found.study.data]
        rows.append([variant.title, _parameters(found, name), *map(percent, scores), f"**{percent(mean)}**", *ahead])
    return table(head, rows)


def _seeds_compared(found: Collected, name: str) -> str:
    """Whose images are compared, where trainings alike give more seeds than that."""
    compared = found.common_seeds(list(found.study.data), found.reference, name)
    fewer = found.alike and len(compared) < len(found.by_seed(name))
    return f", seed {', '.join(map(str, compared))}" if fewer else ""


def seed_by_seed(found: Collected, name: str) -> str:
    """What the first row is ahead of another with each seed; empty if no seed is complete."""
    return ", ".join(f"{points:+.1f}" for points in found.by_seed(name))


def against_reported(found: Collected) -> str:
    """Measured beside reported Dice; empty if the authors report no row of this study."""
    rows = []
    for name, variant in found.begun.items():
        reported = [DICE.get((variant.reported, dataset)) for dataset in found.study.data]
        if any(value is not None for value in reported):
            pairs = zip((found.score(dataset, name) for dataset in found.study.data), reported, strict=True)
            rows.append([variant.title, *(f"{percent(ours)} / {theirs or NONE}" for ours, theirs in pairs)])
    return table(["measured / reported", *found.study.data], rows) if rows else ""


def validation(found: Collected) -> str:
    """What each row reached on validation images, which is what epochs and defaults are chosen by."""
    sets = list(found.study.data)
    rows = [
        [variant.title, *(percent(found.validated(name, one)) for one in sets), percent(found.validated(name, *sets))]
        for name, variant in found.begun.items()
    ]
    return table(["on validation images", *sets, "mean"], rows)


def comparisons(found: Collected) -> str:
    """The first row against each other one on each data set."""
    tests = len(found.others) * len(found.study.data)
    title = found.study.variants[found.reference].title
    head = ["", f"{title} against", "images", "seeds", "ahead by [95 %]", "effect d [95 %]", "p", f"p × {tests}"]
    rows = []
    for dataset in found.study.data:
        for name in found.others:
            one = found.comparison(dataset, name)
            if one is None:
                continue
            p = corrected(one.p, tests)
            rows.append(
                [
                    dataset,
                    found.study.variants[name].title,
                    str(one.images),
                    str(len(found.seeds(dataset, found.reference, name))),
                    f"{100 * one.difference:+.2f} [{100 * one.low:+.2f}, {100 * one.high:+.2f}]",
                    f"{one.effect:+.2f} [{one.effect_low:+.2f}, {one.effect_high:+.2f}]",
                    f"{one.p:.2g}",
                    f"**{p:.2g}**" if p < SIGNIFICANT else f"{p:.2g}",
                ]
            )
    return table(head, rows) if rows else ""


def elsewhere(found: Collected) -> str:
    """Dice on data sets that a model was not trained on; empty if the study has none."""
    rows = []
    for dataset, choice in found.study.data.items():
        for where in choice.also_test:
            for name, variant in found.study.variants.items():
                at_home, away = found.score(dataset, name), found.score(dataset, name, where)
                tested = (result.elsewhere.get(where) for result in found.results.values())
                images = next((str(len(one.cases)) for one in tested if one), NONE)
                rows.append([dataset, where, images, variant.title, percent(at_home), percent(away)])
    return table(["trained on", "tested on", "images", "", "Dice at home", "Dice there"], rows) if rows else ""


def losses(found: Collected) -> str:
    """The weights that the loss ended with where it learns them; empty if no row does."""
    rows = []
    for name, variant in found.study.variants.items():
        last = [result.history[-1].get("weights") for (_, own, _), result in found.results.items() if own == name]
        weights = [values for values in last if values]
        learns = weights and variant.loss_options.get("weighting", "fixed") != "fixed"
        if learns:
            means = {term: np.mean([values[term] for values in weights]) for term in weights[0]}
            rows.append([variant.title, ", ".join(f"{term} {value:.2f}" for term, value in means.items())])
    return table(["", "weights w at the end, mean over data sets and seeds"], rows) if rows else ""


def searched(found: Collected) -> str:
    """The learning rate that was best on validation for each row and data set; empty without a search."""
    if not found.study.search:
        return ""
    rows = []
    for name, variant in found.study.variants.items():
        cells = []
        for dataset in found.study.data:
            trials = [trial for trial in found.trials.values() if (trial.dataset, trial.variant) == (dataset, name)]
            complete = len(trials) == len(found.study.search.lr)
            cells.append(f"{max(trials, key=lambda r: r.best_dice).lr:g}" if complete else NONE)
        rows.append([variant.title, *cells])
    return table(["highest learning rate", *found.study.data], rows)


def files(found: Collected, results: Path, page: Path) -> str:
    """A link to the file of each cell by its seed, in brackets if it is missing; rows of which all are, in a line."""

    def link(cell: Cell) -> str:
        key = (cell.dataset, cell.variant, cell.seed)
        if key in found.results:
            return f"[{cell.seed}]({relative(result_path(results, found.study, cell), page)})"
        if key in found.alike:
            one = found.alike[key]
            file = results / one.study / f"{Cell(one.dataset, one.variant, one.seed)}.json"
            return f"[({cell.seed}: {one.study})]({relative(file, page)})"
        return f"({cell.seed})"

    missing = [f"{name} ({row.title})" for name, row in found.study.variants.items() if name not in found.begun]
    rows = [
        [
            name,
            *(" ".join(link(Cell(dataset, name, seed)) for seed in found.study.seeds) for dataset in found.study.data),
        ]
        for name in found.begun
    ]
    parts = [table(["file by seed; (missing)", *found.study.data], rows)] if rows else []
    if missing:
        seeds, sets = ", ".join(map(str, found.study.seeds)), ", ".join(found.study.data)
        parts.append(f"No cell yet, of seeds {seeds} on {sets}: {'; '.join(missing)}.")
    return "\n\n".join(parts)


def made_with(found: Collected) -> str:
    """Machines, versions, commits and times of the results."""
    made = list(found.results.values())
    if not made:
        return "No cell has been run yet."

    def all_of(values: Sequence[str]) -> str:
        return ", ".join(f"{value} ({count} cells)" for value, count in Counter(values).most_common())

    of = [result.environment for result in made]
    hours = sum(sum(result.seconds.values()) for result in made) / 3600
    lines = [
        f"{len(made)} of {sum(cell.lr is None for cell in found.study.cells())} cells, {hours:.1f} hours"
        + (f"; {len(found.alike)} more that another study has trained" if found.alike else ""),
        "processor: " + all_of([f"{env['gpu'] or env['cpu']}, {env['threads']} thread(s)" for env in of]),
        "commit: " + all_of([f"`{env['commit'] or 'unknown'}`" for env in of]),
        "torch: " + all_of([str(env["torch"]) for env in of]),
        "seconds of a cell: "
        + "; ".join(f"{name} {_seconds(found, name)}" for name in found.begun if _of(found, name)),
        "images (train, val, test): " + "; ".join(_counts(found, dataset) for dataset in found.study.data),
    ]
    return "\n".join(f"- {line}" for line in lines)


def percent(score: Score | None) -> str:
    """Mean ± standard deviation over seeds."""
    if score is None:
        return NONE
    return f"{score.mean:.2f}" + (f" ± {score.std:.2f}" if score.std is not None else "")


def _of(found: Collected, variant: str) -> list[CellResult]:
    return [result for (_, name, _), result in found.results.items() if name == variant]


def _parameters(found: Collected, variant: str) -> str:
    trainings = [result for (_, name, _), result in found.trainings.items() if name == variant]
    counts = {f"{result.parameters / 1e6:.1f} M" for result in trainings}
    return ", ".join(sorted(counts))


def _seconds(found: Collected, variant: str) -> str:
    times = [sum(result.seconds.values()) for result in _of(found, variant)]
    return f"{np.median(times):.0f}"


def _counts(found: Collected, dataset: str) -> str:
    counts = next((r.split.counts for (name, _, _), r in found.results.items() if name == dataset), None)
    return f"{dataset} {', '.join(map(str, counts.values())) if counts else NONE}"
