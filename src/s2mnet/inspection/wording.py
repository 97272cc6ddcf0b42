"""A fingerprint in words, the same on the screen and on the page."""

from __future__ import annotations

from collections.abc import Mapping

from s2mnet.fingerprint.record import Fingerprint, Spread


def summary(fingerprint: Fingerprint) -> list[tuple[str, str, str]]:
    """The most important numbers: name, value and note of each."""
    count, read = sum(fingerprint.counts.values()), len(fingerprint.images)
    split = ", ".join(f"{number} {name}" for name, number in fingerprint.counts.items())
    unread = f"{count - read} could not be read. " if read < count else ""
    tiles = [("Images with masks", str(count), unread + split)]
    if fingerprint.height and fingerprint.width:
        middle = f"{fingerprint.height.median:.0f} × {fingerprint.width.median:.0f}"
        tiles.append(("Median height × width, px", middle, stored_text(fingerprint)))
    if fingerprint.label_map:
        classes = len(fingerprint.classes) - 1
        names = ", ".join(entry.name for entry in fingerprint.classes[1:])
        tiles.append(("Class" if classes == 1 else "Classes", str(classes), names))
    tiles.append(("Problems", str(len(fingerprint.problems)), severity_text(fingerprint) or "none were found"))
    return tiles


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


def intensity_text(fingerprint: Fingerprint) -> dict[str, str]:
    """A line for each channel, by its name."""
    number = len(fingerprint.intensity)
    names = {1: ["Grey"], 3: ["Red", "Green", "Blue"]}.get(number, [f"Channel {place + 1}" for place in range(number)])
    return {
        f"{name} of the train images": f"mean {channel.mean:.3f}, standard deviation {channel.std:.3f}; percentiles "
        + ", ".join(f"{percent}: {value:.3f}" for percent, value in channel.percentiles.items())
        for name, channel in zip(names, fingerprint.intensity, strict=False)
    }


def likeness_text(fingerprint: Fingerprint) -> str:
    """Numbers of pairs of images that are equal or look alike."""
    counts = fingerprint.duplicate_counts
    across, within = (counts.get(f"exact {w}", 0) for w in ("across", "within"))
    near_across, near_within = (counts.get(f"near {w}", 0) for w in ("across", "within"))
    return (
        f"Pairs of equal images: {across} across splits, {within} within one. Pairs that look alike: {near_across} "
        f"across splits, {near_within} within one. The first of them:"
    )


def _counted(counts: Mapping[int | str, int] | Mapping[str, int]) -> str:
    if len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{value} ({number})" for value, number in counts.items())
