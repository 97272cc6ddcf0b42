"""The inspection as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from s2mnet.data.images import read_image
from s2mnet.data.labels import LabelMap
from s2mnet.data.pairs import read_pair
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.fingerprint.problem import Problem
from s2mnet.fingerprint.record import Distribution, Fingerprint, ImageFacts
from s2mnet.inspection import plots
from s2mnet.inspection.wording import intensity_text, likeness_text, size_text, stored_text, summary
from s2mnet.overlay import PALETTE, as_rgb, overlay
from s2mnet.report import embed
from s2mnet.report.tags import legend, pairs, paragraph, section

MAX_PICTURES = 12
MAX_PAIRS = 8
MAX_PROBLEMS = 200
MAX_VALUES = 12


def write_page(fingerprint: Fingerprint, folder: str | Path, path: str | Path) -> Path:
    """Draw the page and put it at `path`, whole or not at all.

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
    path = Path(path)
    page = Template(files("s2mnet.report").joinpath("page.html").read_text(encoding="utf-8"))
    body = "\n".join(
        [
            _opening(fingerprint),
            section("Problems", "problems", _problems(fingerprint.problems)),
            _pictures(fingerprint, Path(folder)),
            _images(fingerprint),
            _labels(fingerprint),
            _shapes(fingerprint),
            _spectrum(fingerprint),
            _look_alikes(fingerprint, Path(folder)),
        ]
    )
    title = f"{fingerprint.name}: inspection"
    write_atomically(path, page.substitute(title=escape(title), body=body).encode("utf-8", errors="replace"))
    return path


def _opening(fingerprint: Fingerprint) -> str:
    tiles = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span class="name">{escape(name)}</span>'
        f"<span>{escape(note)}</span></div>"
        for name, value, note in summary(fingerprint)
    )
    return f'<h1>{escape(fingerprint.name)}: what is in the folder</h1>\n<div class="tiles">{tiles}</div>'


def _problems(problems: Sequence[Problem]) -> str:
    if not problems:
        return paragraph("None were found.", "note")
    rows = "".join(
        f'<tr><th scope="row">{found.severity}</th><td>{escape(found.sentence)}<small>{_where(found)}</small></td>'
        f"<td>{escape(found.means)}</td><td>{escape(found.fix)}</td></tr>"
        for found in problems[:MAX_PROBLEMS]
    )
    head = "".join(f"<th>{text}</th>" for text in ("", "Problem", "What it means", "What to do"))
    more = len(problems) - MAX_PROBLEMS
    left = paragraph(f"{more} more are in fingerprint.json.", "note") if more > 0 else ""
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{left}'


def _where(found: Problem) -> str:
    shown = ", ".join(found.files[:3]) or "the folder"
    return escape(shown + (f" and {len(found.files) - 3} more" if len(found.files) > 3 else ""))


def _pictures(fingerprint: Fingerprint, folder: Path) -> str:
    marked = [image for image in fingerprint.images if image.foreground] or fingerprint.images
    places = np.unique(np.linspace(0, len(marked) - 1, min(len(marked), MAX_PICTURES)).round().astype(int))
    figures = []
    for image in (marked[place] for place in places):
        try:
            picture = _outlined(image, folder, fingerprint.label_map)
        except S2MNetError:
            continue  # moved or damaged since it was inspected
        caption = f"{image.name}, {image.split}, {image.height} × {image.width}"
        shown = embed.image(picture, caption, drawn=True)
        figures.append(_captioned(shown, caption))
    if not figures:
        return ""
    names = fingerprint.label_map.names[1:] if fingerprint.label_map else []
    key = legend("Outlined", zip(PALETTE * (len(names) // len(PALETTE) + 1), names, strict=False)) if names else ""
    rows = [figures[start : start + 4] for start in range(0, len(figures), 4)]
    return section("Pictures", "pictures", key, *(f'<div class="case">{"".join(row)}</div>' for row in rows))


def _outlined(image: ImageFacts, folder: Path, labels: LabelMap | None) -> np.ndarray:
    if labels is None or image.foreground is None:
        return embed.enlarge(as_rgb(read_image(folder / image.image)), smooth=True)
    pixels, mask = read_pair(folder / image.image, folder / image.mask)
    indices = embed.enlarge(labels.encode(mask, image.mask), smooth=False)
    pixels = embed.enlarge(as_rgb(pixels), smooth=True)
    return overlay(pixels, indices, thickness=max(1, round(2 * max(pixels.shape) / embed.LONGEST)))


def _images(fingerprint: Fingerprint) -> str:
    if not fingerprint.images:
        return ""
    rows = {
        "Split": fingerprint.split_rule,
        "Size": size_text(fingerprint),
        "Stored as": stored_text(fingerprint),
        **intensity_text(fingerprint),
    }
    figure = _figure(plots.sizes(fingerprint.images), "Sizes of the images", "Height and width of the images.")
    return section("Images", "images", pairs(rows), _plots([figure]))


def _labels(fingerprint: Fingerprint) -> str:
    if not fingerprint.images:
        return ""
    values = {
        f"Value {value.value}": f"{value.share:.3%} of the pixels, in {value.masks} masks"
        for value in fingerprint.label_values[:MAX_VALUES]
    }
    more = fingerprint.num_label_values - len(values)
    understood = fingerprint.label_map.describe() if fingerprint.label_map else "The mask values were not understood."
    figures = []
    if fingerprint.classes:
        figures.append(
            _figure(plots.label_shares(fingerprint.classes), "Shares of the classes", "Share of each class.")
        )
        drawn = plots.foreground(fingerprint.images)
        figures.append(_figure(drawn, "Size of the foreground", "How much of each image is foreground."))
    left = paragraph(f"{more} rarer values are not listed.", "note") if more > 0 else ""
    return section("Labels", "labels", paragraph(understood), _plots(figures), pairs(values), left)


def _shapes(fingerprint: Fingerprint) -> str:
    parts = []
    for entry in fingerprint.classes:
        found = entry.morphology
        if found is None:
            continue
        rows = {name: _quartiles(getattr(found, name)) for name in type(found).model_fields}
        rows = {name.replace("_px", ", px"): text for name, text in rows.items()}
        note = f"{entry.name}, {len(found.size.values)} masks"
        parts.append(
            _figure(plots.shapes(entry), f"Shapes of {note}", f"{note}: every mask a dot, median and quartiles.")
        )
        parts.append(f"<div><h3>{escape(entry.name)}: median (quartiles)</h3>{pairs(rows)}</div>")
    if not parts:
        return ""
    text = (
        f"The four descriptors of the loss and the mean thickness, over {fingerprint.morphology_masks} masks evenly "
        "chosen from all. Tubularity is near 0 for a large disc and 1 for a line of one pixel; compactness is 1 for a "
        "disc and near 0 for a vessel tree; irregularity is 0.1 for a disc and near 1 for a vessel tree."
    )
    return section("Shapes", "shapes", paragraph(text, "note"), _plots(parts))


def _quartiles(part: Distribution) -> str:
    return f"{part.median:.3g} ({part.lower:.3g} to {part.upper:.3g})"


def _spectrum(fingerprint: Fingerprint) -> str:
    if not fingerprint.spectrum:
        return ""
    text = (
        f"Share of the energy within the central K×K frequencies, over {fingerprint.spectrum_images} images evenly "
        "chosen from all: median, and quartiles as whiskers. The mean brightness alone is most of it, so the share "
        "without it says more."
    )
    drawn = _figure(plots.spectrum(fingerprint.spectrum), "Spectral energy within K", "Energy within K.")
    return section("Spectrum", "spectrum", paragraph(text, "note"), _plots([drawn]))


def _look_alikes(fingerprint: Fingerprint, folder: Path) -> str:
    if not fingerprint.duplicates:
        return ""
    figures = []
    for pair in fingerprint.duplicates[:MAX_PAIRS]:
        for file, split in zip((pair.first, pair.second), pair.splits, strict=True):
            kind = "equal" if pair.kind == "exact" else f"alike, correlation {pair.correlation:.2f}"
            caption = f"{file} ({split}): {kind}"
            try:
                shown = embed.image(as_rgb(read_image(folder / file)), caption)
            except S2MNetError:
                shown = ""
            figures.append(_captioned(shown, caption))
    rows = [f'<div class="case">{"".join(figures[start : start + 4])}</div>' for start in range(0, len(figures), 4)]
    return section("Look-alikes", "look-alikes", paragraph(likeness_text(fingerprint), "note"), *rows)


def _figure(content: bytes, alt: str, caption: str) -> str:
    return _captioned(embed.figure(content, alt), caption)


def _captioned(shown: str, caption: str) -> str:
    # Names of files are long words.
    return f'<figure>{shown}<figcaption style="overflow-wrap: anywhere">{escape(caption)}</figcaption></figure>'


def _plots(figures: Sequence[str]) -> str:
    return f'<div class="plots">{"".join(figures)}</div>' if figures else ""
