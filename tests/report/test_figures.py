"""Figures decode, show what the history holds, and put the spectrum where it belongs."""

from __future__ import annotations

import io
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from s2mnet.errors import S2MNetError
from s2mnet.report import figures

KEYS = ("core", "bnd", "str", "sca", "tex")
SVG = "{http://www.w3.org/2000/svg}"


def record(epoch: int) -> dict:
    terms = {key: 1.0 / (epoch + i) for i, key in enumerate(KEYS)}
    return {
        "epoch": epoch,
        "lr": 1e-3,
        "train_loss": 1 / epoch,
        "val_dice": 1 - 0.5 / epoch,
    } | {
        "terms": terms,
        "weights": dict.fromkeys(KEYS, 1.0),
        "limits": dict.fromkeys(KEYS, 0.5),
        "alpha": dict.fromkeys(KEYS, 1.2),
    }


def marks(svg: bytes) -> list[tuple[float, float]]:
    """Places of all markers: Matplotlib writes one <use> with a clip path's group for each of them."""
    root = ElementTree.fromstring(svg)
    groups = [g for g in root.iter(f"{SVG}g") if g.get("id", "").startswith("line2d") and g.get("clip-path") is None]
    clipped = [use for g in groups for h in g.iter(f"{SVG}g") if h.get("clip-path") for use in h.iter(f"{SVG}use")]
    return [(float(use.get("x")), float(use.get("y"))) for use in clipped]


@pytest.mark.parametrize("epochs", [1, 2, 3, 60])
def test_curves_parse_and_cover_the_history(epochs: int) -> None:
    drawn = figures.curves([record(e) for e in range(1, epochs + 1)])
    assert list(drawn) == ["dice", "loss", "lr", "terms", "weights", "limits", "alpha"]
    for svg in drawn.values():
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{SVG}svg"
        assert b"nan" not in svg
        assert len(svg) < 200_000


def test_every_epoch_is_marked_and_the_best_once_more() -> None:
    dice = [0.2, 0.8, 0.5]
    svg = figures.curves([{"epoch": e, "val_dice": d} for e, d in enumerate(dice, 1)])["dice"]
    points = marks(svg)
    assert len(points) == len(dice) + 1
    curve, star = points[:-1], points[-1]
    assert star == min(curve, key=lambda point: point[1])  # y grows downwards: the highest Dice
    assert star == curve[1]


def test_parts_that_are_missing_are_left_out() -> None:
    history = [
        {"epoch": 1, "train_loss": 0.9},
        {"epoch": 2, "train_loss": float("nan"), "val_dice": 0.5, "terms": {"core": 0.3, "other": -1.0}},
        {"epoch": 3, "train_loss": 0.7, "val_dice": None, "terms": None},
    ]
    assert list(figures.curves(history)) == ["dice", "loss", "terms"]
    assert len(marks(figures.curves(history)["loss"])) == 2
    assert figures.curves([]) == {} and figures.best_epoch(history[:1]) is None


def test_a_dice_that_is_no_number_is_never_the_best() -> None:
    history = [{"epoch": 1, "val_dice": float("nan")}, {"epoch": 2, "val_dice": 0.5}, {"epoch": 3, "val_dice": 0.5}]
    assert figures.best_epoch(history) == (2, 0.5)
    assert len(marks(figures.curves(history)["dice"])) == 2 + 1


def test_same_data_same_bytes() -> None:
    assert figures.curves([record(1), record(2)]) == figures.curves([record(1), record(2)])


@pytest.mark.parametrize("values", [[0.0], [1.0], [0.5] * 3, np.linspace(0, 1, 200).tolist()])
def test_distribution_parses(values: list[float]) -> None:
    assert ElementTree.fromstring(figures.dice_distribution(values)).tag == f"{SVG}svg"


@pytest.mark.parametrize("values", [[], [1.2], [float("nan")]])
def test_distribution_refuses_what_is_no_dice(values: list[float]) -> None:
    with pytest.raises(S2MNetError):
        figures.dice_distribution(values)


@pytest.mark.parametrize("size", [7, 8])
def test_radial_profile_is_the_mean_over_rings(size: int) -> None:
    magnitude = np.random.default_rng(0).random((3, size, size))
    zero = int(np.argmin(np.abs(np.fft.fftshift(np.fft.fftfreq(size)))))
    profile = figures.radial_profile(magnitude)
    assert np.array_equal(profile[:, 0], magnitude[:, zero, zero])
    for radius in range(size // 2 + 1):
        ring = [
            magnitude[:, i, j]
            for i in range(size)
            for j in range(size)
            if round(np.hypot(i - zero, j - zero)) == radius
        ]
        np.testing.assert_allclose(profile[:, radius], np.mean(ring, axis=0))


def test_spectral_filters_have_a_row_for_each_stage() -> None:
    rng = np.random.default_rng(0)
    heights = []
    for stages in ([rng.random((24, 32, 32))], [rng.random((24, 32, 32)), None, rng.random((1, 5, 5)) * 1j]):
        picture = Image.open(io.BytesIO(figures.spectral_filters(stages)))
        picture.load()
        assert picture.format == "PNG"
        heights.append(picture.height)
    assert heights[1] > 1.5 * heights[0]


def test_spectral_filters_show_the_magnitude() -> None:
    real = 1 + np.random.default_rng(0).random((4, 8, 8))
    turned = real * np.exp(1j * np.random.default_rng(1).uniform(0, 6, real.shape))
    first, second = (np.asarray(Image.open(io.BytesIO(figures.spectral_filters([w])))) for w in (real, turned))
    assert np.mean(np.abs(first.astype(int) - second) > 8) < 1e-3
    constant = figures.spectral_filters([np.zeros((2, 4, 4))])
    assert constant.startswith(b"\x89PNG")


@pytest.mark.parametrize("stages", [[], [None], [np.ones((4, 8))], [np.ones((4, 8, 5))]])
def test_spectral_filters_refuse_other_shapes(stages: list) -> None:
    with pytest.raises(S2MNetError):
        figures.spectral_filters(stages)


def test_pyplot_is_never_loaded() -> None:
    code = (
        "import sys, numpy as np; from s2mnet.report import figures;"
        "assert 'matplotlib' not in sys.modules;"
        "figures.curves([{'epoch': 1, 'val_dice': .5}]); figures.spectral_filters([np.ones((2, 4, 4))]);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_on_a_logarithmic_axis_are_plain() -> None:
    history = [{"epoch": epoch, "terms": {"core": 0.6 / epoch, "tex": 0.015}} for epoch in (1, 2, 3)]
    svg = figures.curves(history)["terms"].decode()
    assert "<!-- 0.1 -->" in svg and "mathdefault" not in svg
