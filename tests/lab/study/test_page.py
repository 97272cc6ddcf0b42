"""The page: every number from the files, every file linked, what is missing said."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon
from typer.testing import CliRunner

from s2mnet.errors import S2MNetError
from s2mnet.evaluation.results import evaluate
from s2mnet_lab.cli import app
from s2mnet_lab.study.page import write_pages
from s2mnet_lab.study.result import CellResult, Measured, SplitIdentity, result_path, save_result
from s2mnet_lab.study.study import Study

STUDY = """
title: A study of two sets
headline: true
threats: [made of random masks]
data: {DRIVE: {}, GlaS: {}}
seeds: [1, 2]
variants:
  full: {title: Full, reported: S2M-Net}
  no-sstm: {title: Without, network: {num_frequencies: 0}, reported: no SSTM}
  unet: {title: Peer, architecture: unet}
"""
IMAGES = 12


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Results of random masks: the peer is far behind, one cell of it is missing."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "two.yaml").write_text(STUDY)
    study = Study.load(tmp_path / "studies" / "two.yaml")
    rng = np.random.default_rng(0)
    for cell in study.cells():
        if (cell.dataset, cell.variant, cell.seed) == ("GlaS", "unet", 2):
            continue
        save(tmp_path, study, cell, rng)
    return tmp_path


def save(root: Path, study: Study, cell: Any, rng: np.random.Generator, hash_of_data: str = "0") -> None:
    def pairs() -> Any:
        for number in range(IMAGES):
            truth = np.random.default_rng(number).random((16, 16)) < 0.5
            wrong = rng.random((16, 16)) < (0.4 if cell.variant == "unet" else 0.1)
            yield f"image{number}", (truth ^ wrong).astype(int), truth.astype(int)

    history = [{"epoch": 1, "steps": 5, "train_loss": rng.random(), "val_dice": 0.5, "weights": {"core": 1.0}}]
    result = CellResult(
        study=study.name, dataset=cell.dataset, variant=cell.variant, seed=cell.seed, lr=None,
        declared=study.declared(cell), plan={}, command="", parameters=4_700_000, model_sha256="", history=history,
        environment={"gpu": None, "cpu": "a processor", "threads": 1, "commit": "abc+changes", "torch": "2"},
        split=SplitIdentity(hash=hash_of_data, counts={"train": 1, "val": 1, "test": IMAGES}),
        best_epoch=1, seconds={"training": 2.0, "testing": 1.0},
        test=Measured.of(evaluate(pairs(), {"thing": [1]})),
    )  # fmt: skip
    save_result(result, result_path(root / "results", study, cell))


def page(root: Path) -> str:
    """The text of the page, which answers in a minute."""
    return write_pages(root / "studies", root / "results", root / "docs" / "results.md").read_text()


def study_page(root: Path, name: str = "two") -> str:
    """The text of a study's page, written anew."""
    page(root)
    return (root / "docs" / "results" / f"{name}.md").read_text()


def dice(root: Path, dataset: str, variant: str) -> np.ndarray:
    """(seeds, images) in percent, read from the files without the package."""
    files = sorted((root / "results" / "two" / dataset).glob(f"{variant}-*.json"))
    return 100 * np.array([json.loads(file.read_text())["test"]["figures"]["thing"]["dice"] for file in files])


def test_numbers_follow_from_the_files(written: Path) -> None:
    text, front = study_page(written), page(written)
    full, without = dice(written, "DRIVE", "full"), dice(written, "DRIVE", "no-sstm")
    assert f"{full.mean():.2f} ± {full.mean(1).std(ddof=1):.2f} / 84.06" in text
    both = np.mean([full.mean(), dice(written, "GlaS", "full").mean()])
    assert f"**{both:.2f} ± " in front
    ahead = full.mean(0) - without.mean(0)
    row = next(line for line in text.splitlines() if line.startswith("| DRIVE | Without"))
    assert f"{ahead.mean():+.2f} [" in row and f"| {wilcoxon(ahead).pvalue:.2g} |" in row
    assert f"| {min(1, 4 * wilcoxon(ahead).pvalue):.2g} |" in row


def test_seeds_that_only_one_has_are_not_compared(written: Path) -> None:
    text = study_page(written)
    ahead = dice(written, "GlaS", "full")[0] - dice(written, "GlaS", "unet")[0]
    assert f"| GlaS | Peer | {IMAGES} | 1 | {ahead.mean():+.2f} [" in text


def test_the_answers_are_in_words(written: Path) -> None:
    text = page(written)
    opening = text[: text.index("## All studies")]
    assert "*Peer*: ahead (+" in opening and "*Without*: no difference shown (" in opening
    assert "](results/two.md)" in opening
    claims = study_page(written).split("## Reproduced or not")[1].split("\n## ")[0]
    assert "6.28" in claims and "not reproduced" in claims  # 84.06 − 77.78
    assert "made of random masks" in study_page(written).split("## Threats to validity")[1]


def test_each_seed_is_shown_and_a_disagreement_is_no_difference(written: Path) -> None:
    sets = [(dice(written, name, "full"), dice(written, name, "no-sstm")) for name in ("DRIVE", "GlaS")]
    ahead = np.mean([full.mean(1) - without.mean(1) for full, without in sets], axis=0)
    assert f"| {ahead[0]:+.1f}, {ahead[1]:+.1f} |" in page(written)
    for seed, gain in ((1, 0.5), (2, -0.1)):
        for file in (written / "results" / "two").glob(f"*/full-{seed}.json"):
            raised(file, file.parent / f"no-sstm-{seed}.json", gain)
    text = page(written)
    assert "| +50.0, -10.0 |" in next(line for line in text.splitlines() if line.startswith("| Without"))
    assert "+20.00" in text and "*Without*: no difference shown (+20.00" in text


@pytest.mark.parametrize(
    ("gain", "said"), [(0.02, "not reproduced"), (0.0628, "within our interval"), (0.2, "more than reported")]
)
def test_a_reported_gain_of_six_points_is_judged_by_the_interval(written: Path, gain: float, said: str) -> None:
    for file in (written / "results" / "two" / "DRIVE").glob("full-*.json"):
        raised(file, file.with_name(file.name.replace("full", "no-sstm")), gain, spread=0.01)
    row = next(line for line in study_page(written).splitlines() if line.startswith("| Without | DRIVE | +6.28 |"))
    assert row.endswith(f"| {said} |")


def test_validation_is_of_the_chosen_epoch(written: Path) -> None:
    files = sorted((written / "results" / "two").glob("*/full-*.json"))  # DRIVE 1, 2, GlaS 1, 2
    for file, dice in zip(files, (0.5, 0.6, 0.7, 0.9), strict=True):
        best(file, dice)
    text = study_page(written)
    row = next(line for line in text[text.index("on validation images") :].splitlines() if line.startswith("| Full"))
    assert row == "| Full | 55.00 ± 7.07 | 80.00 ± 14.14 | 67.50 ± 10.61 |"


def raised(file: Path, like: Path, gain: float, spread: float = 0) -> None:
    """Make a result that of another one, with each Dice higher by gain ± spread."""
    result, other = (json.loads(path.read_text()) for path in (file, like))
    assert result["test"]["names"] == other["test"]["names"]
    its = other["test"]["figures"]["thing"]["dice"]
    result["test"]["figures"]["thing"]["dice"] = [
        value + gain + spread * (-1) ** number for number, value in enumerate(its)
    ]
    file.write_text(json.dumps(result))


def test_a_study_to_choose_by_takes_the_validation_of_trainings_declared_alike(written: Path) -> None:
    """Row `whole` is trained like `full` of the other study; of its own it has seed 1. `other` is another training."""
    (written / "studies" / "choose.yaml").write_text(
        "title: Choose\nsplit: val\ndata: {DRIVE: {}}\nseeds: [1, 2]\n"
        "variants: {whole: {title: Whole}, other: {title: Other, network: {head: light}}}\n"
    )
    choose = Study.load(written / "studies" / "choose.yaml")
    rng = np.random.default_rng(1)
    for cell in choose.cells():
        if (cell.variant, cell.seed) != ("whole", 2):
            save(written, choose, cell, rng)
    best(written / "results" / "choose" / "DRIVE" / "whole-1.json", 0.6)
    best(written / "results" / "two" / "DRIVE" / "full-2.json", 0.8)
    section = study_page(written, "choose")
    rows = [line for line in section.splitlines() if line.startswith(("| Whole |", "| Other |"))]
    assert rows[0].startswith("| Whole | 4.7 M | 70.00 ± 14.14 | **70.00 ± 14.14** |")
    assert "], seed 1 | +10.0, +30.0 |" in rows[1]
    assert (
        "| whole | [1](../../results/choose/DRIVE/whole-1.json) [(2: two)](../../results/two/DRIVE/full-2.json) |"
        in section
    )
    assert "3 of 4 cells" in section

    other_images = written / "results" / "two" / "DRIVE" / "full-2.json"
    other_images.write_text(other_images.read_text().replace('"hash": "0"', '"hash": "1"'))
    assert "| Whole | 4.7 M | 60.00 | **60.00** |" in study_page(written, "choose")


def test_a_first_row_that_only_another_study_has_trained_is_compared_by_seed(written: Path) -> None:
    (written / "studies" / "choose.yaml").write_text(
        "title: Choose\nsplit: val\ndata: {DRIVE: {}}\nseeds: [1, 2]\n"
        "variants: {whole: {title: Whole}, other: {title: Other, network: {head: light}}}\n"
    )
    choose = Study.load(written / "studies" / "choose.yaml")
    for cell in choose.cells():
        if cell.variant == "other":
            save(written, choose, cell, np.random.default_rng(1))
            best(written / "results" / "choose" / f"{cell}.json", 0.5)
    for seed, dice in ((1, 0.6), (2, 0.8)):
        best(written / "results" / "two" / "DRIVE" / f"full-{seed}.json", dice)
    section = study_page(written, "choose")
    assert "| Whole | 4.7 M | 70.00 ± 14.14 | **70.00 ± 14.14** |  |  |  |" in section
    assert "| Other | 4.7 M | 50.00 ± 0.00 | **50.00 ± 0.00** | – | +10.0, +30.0 | – |" in section
    assert "[(1: two)](../../results/two/DRIVE/full-1.json)" in section and "No cell yet" not in section
    assert "2 of 4 cells" in section and "hours; 2 more that another study has trained" in section
    assert "seconds of a cell: other" in section and "nan" not in section


def best(file: Path, dice: float) -> None:
    result = json.loads(file.read_text())
    result["history"]["val_dice"] = [dice]
    file.write_text(json.dumps(result))


def test_every_cell_is_linked_or_missing(written: Path) -> None:
    text, front = study_page(written), page(written)
    links = re.findall(r"\[\d\]\((\S+\.json)\)", text)
    assert len(links) == 11 and "(2)" in text
    assert all((written / "docs" / "results" / link).is_file() for link in links)
    assert "11 of 12 cells" in text and "abc+changes" in text and "s2mnet-lab study studies/two.yaml" in text
    assert "| [A study of two sets](results/two.md) | 11 of 12 cells |" in front


def test_what_is_half_done_is_said_to_be(written: Path) -> None:
    for file in (written / "results" / "two" / "GlaS").glob("unet-*.json"):
        file.unlink()
    text = page(written)
    assert "*Peer*: ahead on 1 of 2 sets so far (+" in text and "], 1 set(s) |" in text


def test_a_row_of_which_no_cell_has_been_run_is_in_one_line(written: Path) -> None:
    for file in (written / "results").rglob("unet-*.json"):
        file.unlink()
    text, of_study = page(written), study_page(written)
    assert "No cell yet, of seeds 1, 2 on DRIVE, GlaS: unet (Peer)." in of_study
    assert "| Peer |" not in text and "| Peer |" not in of_study
    assert "*Peer*: not run yet." in text


def test_figures_are_there(written: Path) -> None:
    pictures = [
        file.parent / picture
        for file in (written / "docs" / "results.md", written / "docs" / "results" / "two.md")
        for picture in re.findall(r"!\[.*?\]\((\S+)\)", page(written) and file.read_text())
    ]
    assert len(pictures) == 2
    for picture in pictures:
        assert ET.parse(picture).getroot().tag.endswith("svg")


def test_the_same_files_give_the_same_page(written: Path) -> None:
    assert page(written) == page(written) and study_page(written) == study_page(written)


def test_results_of_other_images_are_left_out(written: Path) -> None:
    study = Study.load(written / "studies" / "two.yaml")
    cell = next(cell for cell in study.cells() if str(cell) == "GlaS/full-2")
    save(written, study, cell, np.random.default_rng(0), hash_of_data="another")
    text = study_page(written)
    assert "**Left out**" in text and "GlaS/full-2.json used other images" in text and "10 of 12 cells" in text


def test_a_page_of_nothing_run(written: Path) -> None:
    for file in (written / "results").rglob("*.json"):
        file.unlink()
    assert "No cell has been run yet" in study_page(written) and "0 of 12 cells" in page(written)


def test_the_command_writes_the_same_pages(written: Path) -> None:
    text, of_study = page(written), study_page(written)
    places = ["--results", str(written / "results"), "--page", str(written / "by-command" / "results.md")]
    done = CliRunner().invoke(app, ["study", str(written / "studies" / "two.yaml"), "--table", *places])
    assert done.exit_code == 0, done.output
    assert (written / "by-command" / "results.md").read_text() == text
    assert (written / "by-command" / "results" / "two.md").read_text() == of_study


def test_a_folder_without_studies(tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match="no study"):
        write_pages(tmp_path, tmp_path, tmp_path / "page.md")
