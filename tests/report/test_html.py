"""The page: well formed, self-contained, escaped, complete with everything and without anything."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
from htmlpage import Page
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from s2mnet.errors import S2MNetError
from s2mnet.evaluation.examples import CaseFigure
from s2mnet.evaluation.results import evaluate
from s2mnet.pages.render import write_page
from s2mnet.report.cases import edge_correlation
from s2mnet.report.content import Report
from s2mnet.report.page import render


def disc(size: int, shift: int = 0) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (np.hypot(y - size / 2, x - size / 2 - shift) < size / 4).astype(np.uint8)


def case(name: str, role: str, size: int = 64, shift: int = 3) -> CaseFigure:
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    beta = np.linspace(0, 1, size * size).reshape(size, size)
    return CaseFigure(name, role, 0.8, image, disc(size), disc(size, shift), beta)


@pytest.fixture(scope="module")
def full() -> Report:
    pairs = [(f"image {i}", disc(64, 2 * i), disc(64)) for i in range(8)]
    pairs += [("empty", 0 * disc(64), disc(64)), ("apart", np.roll(disc(64), 32, 1) * (1 - disc(64)), disc(64))]
    evaluation = evaluate(pairs, {"polyp": [1]}, split="test").with_context(images="10")
    keys = ("core", "bnd", "str", "sca", "tex")
    history = [
        {"epoch": e, "seconds": 30.0 * e, "lr": 1e-3, "train_loss": 1 / e, "val_dice": 1 - 0.6 / e}
        | {name: dict.fromkeys(keys, 1.0 / e) for name in ("terms", "weights", "limits", "alpha")}
        | {"descriptors": {"tubularity": 0.03, "size": 0.2}, "data_share": 0.25}
        for e in range(1, 5)
    ]
    return Report(
        "Polyps",
        ["polyp"],
        {"train": 70, "val": 10, "test": 20},
        ["100 colonoscopy photographs."],
        ["0 and 255, above 127 is polyp."],
        {"batch size": 8},
        history,
        evaluation,
        "test",
        [case("a.png", "best"), case("b.png", "median"), case("c.png", "worst")],
        [np.ones((4, 8, 8)) + 0j, np.ones((4, 5, 5)) + 0j],
        {"command": "s2mnet train DATA -o RUN", "commit": None, "seed": 0},
        ["One image was small."],
    )


@pytest.fixture(scope="module")
def page(full: Report) -> Page:
    return Page(render(full))


@pytest.fixture
def plain(full: Report) -> Report:
    """The same without curves and filters, which take longest to draw."""
    return dataclasses.replace(full, history=({"epoch": 4, "val_dice": 0.85},), filters=())


def test_answers_first(full: Report, page: Page) -> None:
    text = page.text
    opening = text[: text.index("Pictures")]
    dice = full.evaluation.summary["polyp"]["dice"]
    assert "marks polyp in an image" in opening
    for value in (dice.mean, dice.low, dice.high):
        assert f"{value:.3f}" in opening
    assert "Complete misses 1 of 10" in opening
    assert "in 1 more" in opening  # both masks hold pixels and share none
    assert "training 70, validation 10, test 20" in opening
    assert "Not a medical device" in opening
    assert "Dice measures" in opening


def test_self_contained(page: Page) -> None:
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("src") or "data:").startswith("data:")
    links = {a["href"] for a in page.all("a")}
    assert links == {"#warnings", "https://arxiv.org/abs/2601.01285"}
    anchors = {attributes.get("id") for _, attributes in page.tags}
    assert "warnings" in anchors
    assert not re.search(r"url\(|@import", page.style)


def test_every_picture_decodes_and_has_a_text(page: Page) -> None:
    images = page.all("img")
    assert len(images) == 3 * 4 + 7 + 1 + 1
    for image in images:
        assert image["alt"]
        kind, data = image["src"].split(";base64,")
        content = base64.b64decode(data)
        if kind == "data:image/svg+xml":
            assert b"<svg" in content
        else:
            picture = Image.open(io.BytesIO(content))
            picture.load()
            assert kind == f"data:image/{picture.format.lower()}"


def test_table_holds_every_metric_with_interval(full: Report, page: Page) -> None:
    text = page.text
    for metric, summary in full.evaluation.summary["polyp"].items():
        form = ".1f" if metric == "hd95" else ".3f"
        assert f"{summary.mean:{form}}" in text
        assert f"{summary.low:{form}} – {summary.high:{form}}" in text
    assert text.count("↑") == 6 and text.count("↓") == 1


def test_all_that_was_given_is_said(full: Report, page: Page) -> None:
    text = page.text
    for words in (*full.data_sentences, *full.label_sentences, *full.warnings, "batch size 8", "tubularity 0.030"):
        assert words in text
    assert "4 epochs in 2 minutes; 25 % of the time" in text
    assert "s2mnet train DATA -o RUN" in text and "commit –" in text


def test_classes_have_rows_and_a_mean(plain: Report) -> None:
    truth = disc(64) + disc(64, 10) * disc(64)
    evaluation = evaluate([("a", np.roll(truth, 2, 1), truth), ("b", truth, truth)], {"rim": [1], "core": [2]})
    report = dataclasses.replace(plain, class_names=["rim", "core"], evaluation=evaluation)
    page = Page(render(report))
    assert "marks rim and core in" in page.text
    assert "Mean over classes" in page.text and "predicted: core" in page.text
    assert f"{evaluation.summary['core']['dice'].mean:.3f}" in page.text


def test_escapes_every_text(full: Report) -> None:
    bad = '<b onload="x">&\'$title'
    evaluation = evaluate([(bad, disc(64), disc(64))], {bad: [1]}).with_context(**{bad: bad})
    report = Report(
        bad,
        [bad],
        {bad: 1},
        [bad, bad],
        [bad],
        {bad: [bad]},
        [{"epoch": 1, "terms": {bad: 1.0}, "descriptors": {bad: 1.0}}],
        evaluation,
        "test",
        [dataclasses.replace(full.cases[0], name=bad)],
        (),
        {bad: {bad: bad}, "command": bad},
        [bad],
    )
    page = Page(render(report))
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert next(img["alt"] for img in page.all("img")) == f"{bad}: the image"
    assert page.text.count(bad) >= 14


def test_an_empty_report_says_what_is_missing() -> None:
    page = Page(render(Report("Nothing", ["polyp"])))
    for words in ("No case", "No test images", "no curves", "no spectral filters", "not recorded", "None."):
        assert words in page.text
    assert not page.all("img")


def test_without_test_split_the_validation_dice_stands_with_a_caution(plain: Report, page: Page) -> None:
    text = Page(render(dataclasses.replace(plain, evaluation=None))).text
    assert "Validation Dice 0.850" in text and "expect somewhat lower" in text
    assert "expect somewhat lower" not in page.text
    on_validation = Page(render(dataclasses.replace(plain, evaluated_on="validation"))).text
    assert "Validation results" in on_validation and "expect somewhat lower" in on_validation


def test_cases_without_truth_or_boundary(full: Report) -> None:
    bare = dataclasses.replace(full.cases[0], truth=None, boundary=None, dice=None, role="example")
    page = Page(render(dataclasses.replace(full, cases=[bare], history=(), filters=(), evaluation=None)))
    assert len(page.all("img")) == 2
    assert "no boundary map" in page.text and "false alarm" not in page.text


def test_one_epoch(full: Report) -> None:
    page = Page(render(dataclasses.replace(full, history=full.history[:1], cases=(), filters=())))
    assert "1 epoch in 30 seconds" in page.text
    assert len(page.all("img")) == 7 + 1


def test_boundary_of_another_size_and_grey_images(full: Report) -> None:
    small = dataclasses.replace(full.cases[0], boundary=np.full((16, 16), 0.5), image=np.zeros((64, 64), np.uint8))
    sizes = {(i["width"], i["height"]) for i in Page(render(Report("x", ["polyp"], cases=[small]))).all("img")}
    assert sizes == {("448", "448")}


def test_stays_below_five_megabytes_with_the_worst_of_images(full: Report) -> None:
    noise = np.random.default_rng(0).random((1000, 1000))
    cases = [dataclasses.replace(case(f"{i}.png", "example", 1000), boundary=noise) for i in range(7)]
    filters = [np.random.default_rng(0).random((8, 32, 32)) for _ in range(5)]
    page = render(dataclasses.replace(full, cases=cases, filters=filters))
    assert len(page.encode()) < 5_000_000
    assert all(int(image["width"]) <= 480 for image in Page(page).all("img") if "width" in image)
    assert "2 further cases not shown" in Page(page).text


def test_write_replaces_whole_and_leaves_nothing_behind(plain: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    broken = dataclasses.replace(plain.cases[0], image=np.zeros((3, 3)))
    with pytest.raises(S2MNetError, match="uint8"):
        write_page(render(dataclasses.replace(plain, cases=[broken])), path)
    assert path.read_text() == "old"
    unreadable = dataclasses.replace(plain.cases[0], name="caf\udce9.png")
    assert write_page(render(dataclasses.replace(plain, cases=[unreadable])), path) == path
    assert "caf?.png" in Page(path.read_text(encoding="utf-8")).text
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_real_images(shared_data: Path) -> None:
    folder = shared_data / "Kvasir-SEG"
    path = sorted((folder / "images").iterdir())[0]
    image = np.asarray(Image.open(path).convert("RGB"))
    truth = (np.asarray(Image.open(folder / "masks" / path.name).convert("L")) > 127).astype(np.uint8)
    prediction = np.roll(truth, 20, axis=1)
    page = Page(
        render(Report("Kvasir", ["polyp"], cases=[CaseFigure(path.name, "best", 0.9, image, truth, prediction)]))
    )
    assert len(page.all("img")) == 3 and path.name in page.text


@pytest.mark.parametrize(("sign", "expected"), [(1, 1.0), (-1, -1.0)])
def test_agreement_of_beta_with_the_edges_is_that_of_the_pixels_with_a_truth(sign: int, expected: float) -> None:
    truth = disc(64)
    edges = binary_dilation(truth, np.ones((5, 5))) & ~binary_erosion(truth, np.ones((5, 5)), border_value=1)
    beta = 0.5 + sign * (edges - 0.5) / 2
    truth[:20], beta[:18] = 255, 0.3  # nothing is known there, so nothing counts
    image = np.zeros((64, 64), np.uint8)
    figure = CaseFigure("a", "best", 0.9, image, truth, truth % 255, beta)
    assert edge_correlation(figure) == pytest.approx(expected)
    assert f"{expected:+.2f}" in render(Report("Discs", ["disc"], cases=[figure]))
    assert edge_correlation(dataclasses.replace(figure, truth=None)) is None
    assert edge_correlation(dataclasses.replace(figure, boundary=np.full((64, 64), 0.5))) is None
