"""The inspection as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from s2mnet.data.images import read_image
from s2mnet.data.labels import LabelMap
from s2mnet.data.pairs import read_pair
from s2mnet.errors import S2MNetError
from s2mnet.fingerprint.record import Fingerprint, ImageFacts
from s2mnet.inspection import plots, wording
from s2mnet.overlay import PALETTE, as_rgb, overlay
from s2mnet.pages import embed
from s2mnet.pages.render import render
from s2mnet.pages.render import write_page as write

MAX_PICTURES = 12
MAX_PAIRS = 8
MAX_PROBLEMS = 200
MAX_VALUES = 12


def write_page(fingerprint: Fingerprint, folder: str | Path, path: str | Path) -> Path:
    """Draw the page and write it to `path`, whole or not at all.

    Args:
        fingerprint: as :func:`~s2mnet.inspection.inspect_folder` gives it.
        folder: the data folder, for the pictures; a file that can no longer be read is left out.
        path: the HTML file.

    Returns:
        The path.

    Raises:
        S2MNetError: the place cannot be written to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     write_page(Fingerprint(name="polyps"), place, Path(place) / "inspection.html").name
        'inspection.html'
    """
    folder = Path(folder)
    page = render(
        "inspection/inspection.html",
        fingerprint=fingerprint,
        wording=wording,
        plots=plots,
        classes=fingerprint.label_map.names[1:] if fingerprint.label_map else [],
        PALETTE=PALETTE,
        pictures=list(_pictures(fingerprint, folder)),
        look_alikes=list(_look_alikes(fingerprint, folder)),
        MAX_PROBLEMS=MAX_PROBLEMS,
        MAX_VALUES=MAX_VALUES,
    )
    return write(page, path)


def _pictures(fingerprint: Fingerprint, folder: Path) -> Iterator[embed.Picture]:
    """Some images, evenly chosen, with their masks as outlines."""
    marked = [image for image in fingerprint.images if image.foreground] or fingerprint.images
    places = np.unique(np.linspace(0, len(marked) - 1, min(len(marked), MAX_PICTURES)).round().astype(int))
    for image in (marked[place] for place in places):
        try:
            pixels = _outlined(image, folder, fingerprint.label_map)
        except S2MNetError:
            continue  # moved or damaged since it was inspected
        caption = f"{image.name}, {image.split}, {image.height} × {image.width} px"
        yield embed.photo(pixels, caption, caption, drawn=True)


def _outlined(image: ImageFacts, folder: Path, labels: LabelMap | None) -> np.ndarray:
    if labels is None or image.foreground is None:
        return embed.enlarge(as_rgb(read_image(folder / image.image)), smooth=True)
    pixels, mask = read_pair(folder / image.image, folder / image.mask, labels)
    indices = embed.enlarge(labels.encode(mask, image.mask), smooth=False)
    pixels = embed.enlarge(as_rgb(pixels), smooth=True)
    return overlay(pixels, indices, thickness=max(1, round(2 * max(pixels.shape) / embed.LONGEST)))


def _look_alikes(fingerprint: Fingerprint, folder: Path) -> Iterator[embed.Picture]:
    for pair in fingerprint.duplicates[:MAX_PAIRS]:
        likeness = "identical" if pair.kind == "exact" else f"similar, correlation {pair.correlation:.2f}"
        for file, split in zip((pair.first, pair.second), pair.splits, strict=True):
            caption = f"{file} ({split}): {likeness}"
            try:
                yield embed.photo(as_rgb(read_image(folder / file)), caption, caption)
            except S2MNetError:
                yield embed.Picture("", caption, caption)  # its partner stays next to its caption
