"""docs/results.md, written from study files and result files alone."""

from __future__ import annotations

from pathlib import Path

from s2mnet.architecture import OURS
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet_lab.markdown import relative, table
from s2mnet_lab.study import charts, tables
from s2mnet_lab.study.collected import Collected, collect, look_for_alike
from s2mnet_lab.study.reported import DICE
from s2mnet_lab.study.result import result_path
from s2mnet_lab.study.spectrum import SpectrumResult
from s2mnet_lab.study.spectrum_page import spectrum_section
from s2mnet_lab.study.statistics import corrected
from s2mnet_lab.study.study import Study

INTRODUCTION = """\
# Results: does it work, what in it works, and against whom

Written by `s2mnet experiment STUDY --table` from the files in `{studies}` and `{results}`; no figure is typed by hand.
Dice in percent on the test split at the images' own size, mean over images and foreground classes, ± the standard
deviation over seeds. The model of each cell is the one with the best validation Dice; test images are opened after
that. What is *ahead* is the mean difference on the same images, averaged over the seeds of both, with a 95 % bootstrap
interval over images. p: Wilcoxon signed rank test over images on one data set, sign permutation test on the mean of
the sets, each times the number of tests of its table (Bonferroni); bold below {significant}. Tests and intervals
take the trained networks as they are. Training with another seed gives another network: *seed by seed* shows how far
the same difference moves with it, and a sentence says ahead or behind only where p is below {significant} and all
seeds agree."""

ALIKE = """\
Where another study declares the same training, its validation Dice stands in the first table and its file is linked
below. Images are compared for the seeds that both rows have in this study."""


def write_page(studies: Path, results: Path, page: Path) -> Path:
    """Write the page and its figures, beside it in a folder of its name.

    Args:
        studies: folder of study files.
        results: folder of result files.
        page: the Markdown file.

    Raises:
        S2MNetError: no study there, one that cannot be read, a place that cannot be written to.
    """
    files = sorted(studies.glob("*.yaml"))
    if not files:
        raise S2MNetError(studies, "no study", "*.yaml", "Name a study in its folder.")
    every = sorted((Study.load(file) for file in files), key=lambda study: (not study.headline, study.name))
    parts = [INTRODUCTION.format(studies=studies.name, results=results.name, significant=tables.SIGNIFICANT)]
    collected = {study.name: collect(study, results) for study in every if study.measure == "training"}
    look_for_alike([*collected.values()])
    for study in every:
        if study.measure == "spectrum":
            parts.append(_spectrum_section(study, results, page))
            continue
        found = collected[study.name]
        if study.headline:
            parts.append(_headline(found, page))
        parts.append(_section(found, results, page))
    write_atomically(page, ("\n\n".join(part for part in parts if part) + "\n").encode())
    return page


def answers(found: Collected) -> str:
    """The three questions of the title, answered in sentences by a study's figures."""
    study = found.study
    ours = study.variants[found.reference]
    mean, sets = found.mean_score(found.reference), len(study.data)
    rest = ", ".join(f"{name} {tables.percent(found.score(name, found.reference))}" for name in study.data)
    reached = f"reaches a Dice of **{tables.percent(mean)}** on the mean of {sets} sets" if mean else "so far"
    works = f"{ours.title} {reached} ({rest})."
    parts = {name: variant for name, variant in study.variants.items() if variant.architecture == OURS}
    inside = [_ahead(found, name) for name in parts if name in found.others]
    peers = [_ahead(found, name) for name in found.others if name not in parts]
    lines = [f"**Does it work?** {works}"]
    lines += [f"**What in it works?** Against itself, {' '.join(inside)}"] if inside else []
    lines += [f"**Against whom?** {' '.join(peers)}"] if peers else []
    return "\n".join(f"- {line}" for line in lines)


def reproduced(found: Collected) -> str:
    """What the authors report of leaving a part out, beside what was found."""
    study = found.study
    whole = study.variants[found.reference].reported
    lines = []
    for name in found.others:
        row = study.variants[name].reported
        for dataset in study.data:
            one = found.comparison(dataset, name)
            if (row, dataset) in DICE and (whole, dataset) in DICE and one is not None:
                claimed = DICE[whole, dataset] - DICE[row, dataset]
                verdict = _verdict(claimed, 100 * one.low, 100 * one.high)
                found_here = f"{100 * one.difference:+.2f} [{100 * one.low:+.2f}, {100 * one.high:+.2f}]"
                lines.append([study.variants[name].title, dataset, f"{claimed:+.2f}", found_here, verdict])
    return table(["", "data set", "reported gain", "found", ""], lines) if lines else ""


def _verdict(claimed: float, low: float, high: float) -> str:
    """What an interval says of a reported gain."""
    if low <= claimed <= high:
        return "within our interval"
    return "more than reported" if low > claimed > 0 else "not reproduced"


def _ahead(found: Collected, name: str) -> str:
    """One sentence of how the first row compares with another on the mean of the sets."""
    variant, one = found.study.variants[name], found.mean_comparison(name)
    if one is None:
        return f"*{variant.title}*: not run yet."
    p = corrected(one.p, len(found.others))
    points, sets = 100 * one.difference, len(found.study.data)
    shown = p < tables.SIGNIFICANT and all((ahead > 0) == (points > 0) for ahead in found.by_seed(name))
    verdict = "no difference shown" if not shown else "ahead" if points > 0 else "behind"
    so_far = "" if one.sets == sets else f" on {one.sets} of {sets} sets so far"
    interval = f"{points:+.2f} points [{100 * one.low:+.2f}, {100 * one.high:+.2f}], p = {p:.2g}"
    interval += f"; seed by seed {tables.seed_by_seed(found, name) or 'none complete'}"
    return f"*{variant.title}*: {verdict}{so_far} ({interval})."


def _headline(found: Collected, page: Path) -> str:
    parts = [
        "## In one minute",
        answers(found),
        tables.overview(found),
        _figure(charts.ahead(found), f"{found.study.name}-ahead", page),
        "Blue: ahead; orange: behind; grey: the 95 % interval holds 0.",
        "**Reproduced or not.** What the authors say that S2M-Net gains by a part, and what was found at this budget:",
        reproduced(found),
        "**Threats to validity.**",
        "\n".join(f"- {threat}" for threat in found.study.threats),
    ]
    return "\n\n".join(part for part in parts if part)


def _section(found: Collected, results: Path, page: Path) -> str:
    study = found.study
    parts = [f"## {study.title}", study.description]
    if study.split == "val":
        parts.append("Measured on validation images, to choose by; the test split is not read.")
    if found.alike:
        parts.append(ALIKE)
    if found.results:
        parts += [
            "" if study.headline else tables.overview(found),
            tables.against_reported(found),
            "" if study.headline else _figure(charts.ahead(found), f"{study.name}-ahead", page),
            tables.comparisons(found),
            "" if study.split == "val" else tables.validation(found),
            tables.elsewhere(found),
            tables.losses(found),
            tables.searched(found),
            _figure(charts.learning(found), f"{study.name}-learning", page),
        ]
    parts += [
        *(f"**Left out**: {fault}" for fault in found.faults),
        tables.files(found, results, page),
        tables.made_with(found),
        f"To go on: `s2mnet experiment studies/{study.name}.yaml --data FOLDER_OF_DATA_SETS`.",
    ]
    return "\n\n".join(part for part in parts if part)


def _spectrum_section(study: Study, results: Path, page: Path) -> str:
    files = {cell: result_path(results, study, cell) for cell in study.cells()}
    found = [SpectrumResult.model_validate_json(file.read_bytes()) for file in files.values() if file.is_file()]
    missing = [str(cell) for cell, file in files.items() if not file.is_file()]
    links = [f"[{cell}]({relative(file, page)})" for cell, file in files.items() if file.is_file()]
    parts = [
        f"## {study.title}",
        study.description,
        spectrum_section(found, page.parent / page.stem) if found else "No data set has been measured yet.",
        f"Files: {', '.join(links) or 'none'}. Missing: {', '.join(missing) or 'none'}.",
    ]
    return "\n\n".join(part for part in parts if part)


def _figure(content: bytes | None, name: str, page: Path) -> str:
    if content is None:
        return ""
    file = page.parent / page.stem / f"{name}.svg"
    write_atomically(file, content)
    return f"![{name}]({page.stem}/{file.name})"
