"""Each case as a row of pictures: image, prediction and reference, errors, β."""

from __future__ import annotations

from typing import Any

import numpy as np

from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.evaluation.examples import CaseFigure
from s2mnet.overlay import Colour, as_rgb, errors, heat, overlay
from s2mnet.pages import embed

MOST_CASES = 5
"""More cases than this are counted but not drawn: even five images of noise then stay below 5 MB."""


def heat_scale() -> list[Colour]:
    """The colours of β in steps from 0 to 1."""
    return [(red, green, blue) for red, green, blue in heat(np.linspace(0, 1, 9)[None])[0].tolist()]


def pictures(case: CaseFigure) -> list[embed.Picture]:
    """The row of a case.

    Raises:
        S2MNetError: an array cannot be drawn; the message says which and why.
    """
    image = embed.enlarge(as_rgb(case.image), smooth=True)
    prediction = embed.enlarge(np.asarray(case.prediction), smooth=False)
    truth = None if case.truth is None else embed.enlarge(np.asarray(case.truth), smooth=False)
    outlined = overlay(image, prediction, truth, thickness=max(1, round(max(image.shape[:2]) / 200)))
    row = [embed.photo(image, f"{case.name}: the image", "Image")]
    if truth is None:
        row.append(embed.photo(outlined, f"{case.name}: outline of the prediction", "Prediction", drawn=True))
    else:
        alt = f"{case.name}: outlines of the prediction and the reference"
        row.append(embed.photo(outlined, alt, "Prediction and reference", drawn=True))
        alt = f"{case.name}: where the prediction and the reference agree and differ"
        row.append(embed.photo(errors(image, prediction, truth), alt, "Errors", drawn=True))
    if case.boundary is not None:
        correlation = edge_correlation(case)
        caption = "β" if correlation is None else f"β; edge correlation {correlation:+.2f}"
        colours = heat(_resized(case.boundary, image.shape[:2]))
        row.append(embed.photo(colours, f"{case.name}: boundary map β", caption))
    return row


def edge_correlation(case: CaseFigure) -> float | None:
    """Spearman correlation of β with the edges of the truth (5×5 dilation − erosion, as in SPEC 2.3).

    Returns:
        In [−1, 1], over the pixels with a truth; None without β, truth or edges.
    """
    if case.boundary is None or case.truth is None:
        return None
    from scipy.ndimage import maximum_filter, minimum_filter
    from scipy.stats import spearmanr

    truth = np.asarray(case.truth)
    highest = maximum_filter(truth, 5)
    edges, known = highest != minimum_filter(truth, 5), highest < IGNORE_INDEX
    beta = _resized(case.boundary, truth.shape)[known]
    if np.ptp(edges[known].astype(int)) == 0 or np.ptp(beta) == 0:
        return None
    return float(spearmanr(beta, edges[known]).statistic)


def _resized(boundary: Any, size: tuple[int, ...]) -> np.ndarray[Any, Any]:
    from PIL import Image

    values = np.asarray(boundary, dtype=np.float32)
    if values.ndim != 2 or values.shape == size:
        return values
    return np.asarray(Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR))
