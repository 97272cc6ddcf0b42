"""A fingerprint in words, the same on the screen and on the page."""

from __future__ import annotations

from collections.abc import Mapping

from s2mnet.fingerprint.record import Fingerprint, Spread


def severity_text(fingerprint: Fingerprint) -> str:
    """Number of problems of each severity.

    Example:
        >>> severity_text(Fingerprint(name="polyps"))
        ''
    """
    severities = [problem.severity for problem in fingerprint.problems]
    counted = {name: severities.count(name) for name in ("error", "warning", "note")}
    return ", ".join(f"{number} {name}{'s' * (number > 1)}" for name, number in counted.items() if number)


def size_text(fingerprint: Fingerprint) -> str:
    """Height and width, smallest to largest."""

    def side(spread: Spread | None) -> str:
        return f"{spread.minimum:.0f} to {spread.maximum:.0f}, median {spread.median:.0f}" if spread else "unknown"

    return f"height {side(fingerprint.height)} px; width {side(fingerprint.width)} px"


def stored_text(fingerprint: Fingerprint) -> str:
    """Channels and stored forms of the images, the most common first."""
    kinds = {1: "grey", 3: "colour"}
    numbers = {int(value): number for value, number in fingerprint.count_of("channels").items()}
    parts = [
        _counted({kinds.get(value, f"{value} channels"): number for value, number in numbers.items()}),
        _counted(fingerprint.count_of("mode")),
        _counted(
            {f"{value} bits" if value else "bits unknown": n for value, n in fingerprint.count_of("bits").items()}
        ),
    ]
    return "; ".join(parts)


def _counted(counts: Mapping[int | str, int] | Mapping[str, int]) -> str:
    if len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{value} ({number})" for value, number in counts.items())
