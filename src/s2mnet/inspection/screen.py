"""A fingerprint on the screen: short, problems worst first."""

from __future__ import annotations

from rich.markup import escape

from s2mnet.console import Console
from s2mnet.fingerprint import Fingerprint
from s2mnet.inspection.wording import severity_text, size_text, stored_text

MAX_SHOWN = 12
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def print_fingerprint(fingerprint: Fingerprint, console: Console) -> None:
    """Print the numbers in a few lines, then at most 12 problems.

    Example:
        >>> print_fingerprint(Fingerprint(name="polyps"), Console(width=80))
        data      polyps: 0 images with masks
        problems  none
    """
    count = sum(fingerprint.counts.values())
    split = ", ".join(f"{number} {name}" for name, number in fingerprint.counts.items() if number)
    rows = {"data": f"{fingerprint.name}: {count} images with masks" + (f" ({split})" if split else "")}
    if fingerprint.images:
        rows["images"] = f"{size_text(fingerprint)}; {stored_text(fingerprint)}"
    if fingerprint.label_map:
        rows["labels"] = fingerprint.label_map.describe()
    for entry in fingerprint.classes[1:]:
        shape = entry.morphology
        text = f"{entry.share:.2%} of the pixels, in {sum(entry.masks.values())} masks"
        if shape:
            text += (
                f"; median thickness {shape.thickness_px.median:.0f} px, compactness {shape.compactness.median:.2f}, "
                f"tubularity {shape.tubularity.median:.2f}, irregularity {shape.irregularity.median:.2f}"
            )
        rows[f"class {entry.index}"] = f"{entry.name}: {text}"
    known = [energy for energy in fingerprint.spectrum if energy.without_dc]
    if known:
        parts = [f"{energy.without_dc.median:.1%} in K = {energy.k}" for energy in known if energy.without_dc]
        rows["spectrum"] = f"energy without the mean: {', '.join(parts)}"
    rows["problems"] = severity_text(fingerprint) or "none"
    for name, text in rows.items():
        console.print(f"[bold]{escape(name):<9}[/] {escape(text)}", soft_wrap=True)
    for problem in fingerprint.problems[:MAX_SHOWN]:
        colour = _COLOURS[problem.severity]
        console.print(f"[{colour}]{problem.severity:<9}[/] {escape(problem.sentence)}", soft_wrap=True)
        console.print(f"          {escape(problem.means)} {escape(problem.fix)}", soft_wrap=True)
    if len(fingerprint.problems) > MAX_SHOWN:
        console.print(f"          … and {len(fingerprint.problems) - MAX_SHOWN} more", soft_wrap=True)
