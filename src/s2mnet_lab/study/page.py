"""docs/results.md and a page for each study beside it, written from study files and result files alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from s2mnet.architecture import OURS
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet_lab.markdown import relative, table
from s2mnet_lab.study import charts, tables
from s2mnet_lab.study.collected import Collected, collect, share_trainings
from s2mnet_lab.study.result import result_path
from s2mnet_lab.study.spectrum.page import spectrum_section
from s2mnet_lab.study.spectrum.result import SpectrumResult
from s2mnet_lab.study.statistics import corrected
from s2mnet_lab.study.study import Study

METHOD = f"""\
- Dice is in percent, on the test split at the images' own size: the mean over images and foreground classes, ± the
  standard deviation over seeds. Validation chose the model of each cell; test images were opened only after that.
- *Ahead* is the mean difference on the same images, averaged over the seeds of both rows, with a 95 % bootstrap
  interval over images.
- p comes from a Wilcoxon signed-rank test over images on one data set, and from a sign permutation test on the mean of
  the sets. It is multiplied by the number of tests in its table (Bonferroni) and bold below {tables.SIGNIFICANT}.
- Tests and intervals take the trained networks as given, but another seed gives another network: *seed by seed* shows
  how far the difference moves. A sentence says ahead or behind only if p is below {tables.SIGNIFICANT} and all seeds
  agree."""
INTRODUCTION = """\
# Results: does it work, what in it works, and against whom

`s2mnet-lab study STUDY --table` writes this page from `{studies}` and `{results}`; no figure is typed by hand."""
FRONT = "The table of all rows and the chart of their leads are on [{name}]({link})."
CONTINUE = "To run what is missing: `s2mnet-lab study studies/{name}.yaml --data FOLDER_OF_DATA_SETS`."
BORROWED = """\
Where another study declares the same training, the first table uses its validation Dice and the file is linked below.
Images are compared only for the seeds that both rows have in this study."""


def write_pages(studies: Path, results: Path, page: Path) -> Path:
    """Write the page of results, and beside it, in a folder of its name, a page for each study and the charts.

    Args:
        studies: folder of study files.
        results: folder of result files.
        page: the Markdown file that answers in a minute.

    Raises:
        S2MNetError: the folder has no study or one that cannot be read; a file cannot be written.
    """
    files = sorted(studies.glob("*.yaml"))
    if not files:
        raise S2MNetError(studies, "has no study, a file *.yaml", "Name a study in its folder.")
    ordered = sorted((Study.load(file) for file in files), key=lambda study: (not study.headline, study.name))
    trained = {study.name: collect(study, results) for study in ordered if study.measure == "training"}
    share_trainings([*trained.values()])
    folder, rows, headlines = page.parent / page.stem, [], []
    for study in ordered:
        own = folder / f"{study.name}.md"
        if study.name in trained:
            collected = trained[study.name]
            content, done = _study_page(collected, results, own), tables.progress(collected)
            headlines += [_headline(collected, folder, page)] if study.headline else []
        else:
            content, done = _spectrum_page(study, results, own)
        _write(own, [f"# {study.title}", study.description, *content])
        rows.append((f"[{study.title}]({relative(own, page)})", done))
    parts = [
        INTRODUCTION.format(studies=studies.name, results=results.name),
        *headlines,
        _section("All studies", table(("study", "done"), rows)),
        _section("How to read the figures", METHOD),
    ]
    _write(page, parts)
    return page


def answers(collected: Collected) -> str:
    """The three questions of the title, answered in sentences from a study's figures."""
    study = collected.study
    ours = study.variants[collected.reference]
    mean, sets = collected.mean_score(collected.reference), len(study.data)
    rest = ", ".join(f"{name} {tables.percent(collected.score(name, collected.reference))}" for name in study.data)
    reached = f"reaches a Dice of **{tables.percent(mean)}** on the mean of {sets} sets" if mean else "so far"
    parts = [name for name, variant in study.variants.items() if variant.architecture == OURS]
    inside = [_compared(collected, name) for name in parts if name in collected.others]
    peers = [_compared(collected, name) for name in collected.others if name not in parts]
    lines = [f"**Does it work?** {ours.title} {reached} ({rest})."]
    lines += [f"**What in it works?** Against itself, {' '.join(inside)}"] if inside else []
    lines += [f"**Against whom?** {' '.join(peers)}"] if peers else []
    return "\n".join(f"- {line}" for line in lines)


def _compared(collected: Collected, name: str) -> str:
    """A sentence on how the first row compares with another on the mean of the sets."""
    title, comparison = collected.study.variants[name].title, collected.mean_comparison(name)
    if comparison is None:
        return f"*{title}*: not run yet."
    p = corrected(comparison.p, len(collected.others))
    better, sets = comparison.difference > 0, len(collected.study.data)
    shown = p < tables.SIGNIFICANT and all((lead > 0) == better for lead in collected.lead_by_seed(name))
    verdict = "no difference shown" if not shown else "ahead" if better else "behind"
    so_far = "" if comparison.sets == sets else f" on {comparison.sets} of {sets} sets so far"
    seeds = tables.seed_by_seed(collected, name) or "none complete"
    return f"*{title}*: {verdict}{so_far} ({tables.points(comparison, 'points ')}, p = {p:.2g}; seed by seed {seeds})."


def _headline(collected: Collected, folder: Path, page: Path) -> str:
    name, own = collected.study.name, relative(folder / f"{collected.study.name}.md", page)
    return _section(
        f"In one minute: {collected.study.title}",
        answers(collected),
        tables.overview(collected),
        charts.write_chart(charts.leads(collected), f"{name}-ahead", folder, page),
        "Blue: ahead; orange: behind; grey: the 95 % interval holds 0.",
        f"Before you quote a figure, read [the threats to validity and which reported gains were reproduced]({own}).",
    )


def _study_page(collected: Collected, results: Path, page: Path) -> list[str]:
    study, folder = collected.study, page.parent
    front = folder.parent / f"{folder.name}.md"

    def chart(content: bytes | None, name: str) -> str:
        return charts.write_chart(content, f"{study.name}-{name}", folder, page)

    on_validation = study.split == "val"
    parts = [
        "Measured on validation images, to choose by; the test split is not read." if on_validation else "",
        BORROWED if collected.borrowed else "",
        FRONT.format(name=front.name, link=relative(front, page)) if study.headline else "",
    ]
    if collected.results:
        claims = tables.reproduced(collected) if study.headline else ""
        parts += [
            "" if study.headline else tables.overview(collected),
            "" if study.headline else chart(charts.leads(collected), "ahead"),
            _section("Measured and reported", tables.against_reported(collected)),
            _section(
                "Reproduced or not",
                claims and "What the authors say that S2M-Net gains by a part, and what this budget shows:",
                claims,
            ),
            _section("Data set by data set", tables.comparisons(collected)),
            _section("On validation images", "" if on_validation else tables.validation(collected)),
            _section("Trained on one set, tested on another", tables.elsewhere(collected)),
            _section("Learned weights of the loss", tables.losses(collected)),
            _section("Searched learning rates", tables.searched(collected)),
            _section("Learning curves", chart(charts.learning(collected), "learning")),
        ]
    return [
        *parts,
        _section("Threats to validity", "\n".join(f"- {threat}" for threat in study.threats)),
        _section(
            "Files",
            *(f"**Left out**: {fault}" for fault in collected.faults),
            tables.files(collected, results, page),
            tables.origins(collected),
            CONTINUE.format(name=study.name) if len(collected.results) < collected.size else "",
        ),
    ]


def _spectrum_page(study: Study, results: Path, page: Path) -> tuple[list[str], str]:
    """The parts of the page, and how many data sets have a result."""
    files = {cell: result_path(results, study, cell) for cell in study.cells()}
    measured = {cell: file for cell, file in files.items() if file.is_file()}
    spectra = [SpectrumResult.model_validate_json(file.read_bytes()) for file in measured.values()]
    links = ", ".join(f"[{cell}]({relative(file, page)})" for cell, file in measured.items())
    missing = ", ".join(str(cell) for cell in files if cell not in measured)
    parts = [
        spectrum_section(spectra, page.parent, page) if spectra else "No data set has been measured yet.",
        _section("Files", f"Files: {links or 'none'}. Missing: {missing or 'none'}."),
    ]
    return parts, f"{len(measured)} of {len(files)} data sets"


def _section(heading: str, *parts: str) -> str:
    """Parts below a heading; empty if all of them are."""
    content = _joined(parts)
    return f"## {heading}\n\n{content}" if content else ""


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part)


def _write(page: Path, parts: Iterable[str]) -> None:
    write_atomically(page, (_joined(parts) + "\n").encode())
