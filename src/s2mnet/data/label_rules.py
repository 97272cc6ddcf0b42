"""Rules that recognise mask values: class indices, 0/255, noise around 0/255, instance labels, grey images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from s2mnet.errors import S2MNetError

Histogram = Mapping[int, int]
Reading = tuple[Literal["threshold", "classes"], list[int], "int | None"]

MAX_CLASSES = 9  # background and eight more; above that the numbers look like instances
NOISE_REACH = 40
NOISE_SHARE = 0.98
NOISE_SHARE_OF_ONE_MASK = 0.90  # thin structures have more blurred edge than the average mask
MIN_NOISE_VALUES = 4


def histogram(mask: np.ndarray) -> dict[int, int]:
    """Pixels, or voxels, of each raw value of a mask.

    Args:
        mask: integers of any shape.

    Example:
        >>> histogram(np.array([[0, 7], [7, 7]], dtype=np.uint8))
        {0: 1, 7: 3}
    """
    if mask.dtype == np.uint8:  # counted rather than sorted
        counts = np.bincount(mask.reshape(-1), minlength=256)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, pixels = np.unique(mask, return_counts=True)
    return dict(zip(values.tolist(), pixels.tolist(), strict=True))


def total_of(counts: Mapping[Path, Histogram]) -> dict[int, int]:
    """Pixels of each value over all masks, values ascending."""
    total: Counter[int] = Counter()
    for histogram in counts.values():
        total.update({value: count for value, count in histogram.items() if count > 0})
    return dict(sorted(total.items()))


def explain(total: Histogram) -> Reading | None:
    """Kind, values and ignore value that explain the values of all masks together; None if nothing does."""
    clean = explain_clean(total)
    if clean is not None:
        return clean
    return ("threshold", [0, 255], None) if _is_noise(total) else None


def explain_clean(values: Iterable[int]) -> Reading | None:
    """As :func:`explain`, for masks in which each value stands for a class.

    Example:
        >>> explain_clean([0, 1, 2, 255])
        ('classes', [0, 1, 2], 255)
        >>> explain_clean([0, 10, 20, 30])
        ('classes', [0, 10, 20, 30], None)
        >>> explain_clean([0, 7, 255]) is None
        True
    """
    values = sorted(values)
    if len(values) < 2 or values[0] != 0:
        return None
    if len(values) == 2:
        return "classes", values, None
    if len(values) <= MAX_CLASSES and _is_even(values):
        return "classes", values, None
    if values[-1] == 255 and len(values) - 1 <= MAX_CLASSES and values[:-1] == list(range(len(values) - 1)):
        return "classes", values[:-1], 255
    return None


def masks_at_fault(counts: Mapping[Path, Histogram], total: Histogram) -> None:
    """Raise for a mask that fits the values of all masks together but contradicts the other masks.

    Four cases: 0/1 masks mixed with 0/255 masks (255 would pass as "ignore"); a stray value between 0 and 255 in a
    minority of otherwise 0/255 masks; a grey-level image among noisy 0/255 masks; quarters of 255 in most masks, which
    halving a 0/255 mask by averaging leaves on its edges and which would pass as five classes.
    """
    clean = explain_clean(total)
    if clean is None and _is_noise(total) and (grey := _grey_masks(counts)):
        raise _grey(counts, grey)
    if clean is None or 255 not in total or len(total) < 3:
        return
    marked = {file: {value for value, n in held.items() if value and n} for file, held in counts.items()}
    plain = [file for file, values in marked.items() if values == {255}]
    between = [file for file, values in marked.items() if values and values != {255}]
    if clean[2] == 255 and not any(255 in marked[file] for file in between):
        fewer, others = (between, "0 and 255") if len(between) <= len(plain) else (plain, "0 to " + str(clean[1][-1]))
        raise _stray(counts, sorted(fewer), {255} if fewer is plain else set(total) - {0, 255}, others)
    if len(plain) > len(between):
        raise _stray(counts, sorted(between), set(total) - {0, 255}, "0 and 255")
    if len(total) == 5 and clean[2] is None:
        values = ", ".join(map(str, total))
        problem = (
            f"has, with the other masks, the values {values}: soft edges of a mask reduced to half, or four classes"
        )
        fix = (
            "Use --labels threshold if the edges are soft. If they are classes, name them in dataset.yaml "
            "(classes: {0: background, …}) or renumber them 0 to 4."
        )
        raise S2MNetError(min(between), problem, fix)


def no_explanation(counts: Mapping[Path, Histogram], total: Histogram) -> S2MNetError:
    """The error for values that nothing explains: it names the one file at fault if there is one."""
    first = min(counts)
    values = list(total)
    shown = ", ".join(map(str, values[:12])) + (", …" if len(values) > 12 else "")
    if 0 not in total:
        fix = "Renumber the masks so that background is 0, or use --labels classes if the values are class indices."
        return S2MNetError(first, f"has no background: no mask has the value 0 (values {shown})", fix)
    if len(values) > MAX_CLASSES and values[-1] < 2 * len(values) and not 128 <= values[-1] <= 255:
        widest = max(counts, key=lambda file: (max(counts[file]), str(file)))
        problem = (
            f"has the values 0 to {max(counts[widest])}, and other masks have other ranges: these look like instance "
            f"labels, not like at most {MAX_CLASSES} classes"
        )
        fix = "Use --labels binary to make every object foreground, or --labels classes if each number is a class."
        return S2MNetError(widest, problem, fix)
    grey = _grey_masks(counts)
    if grey and len(grey) < len(counts) / 2 and _is_noise(total, share=NOISE_SHARE_OF_ONE_MASK):
        return _grey(counts, grey)
    # Remove the rarest values until the rest makes sense: what was removed is the fault.
    holders = {value: [file for file in counts if counts[file].get(value, 0)] for value in total}
    rarest = sorted((value for value in total if value), key=lambda value: (len(holders[value]), total[value]))
    for taken in range(1, min(9, len(rarest))):
        strange = set(rarest[:taken])
        files = sorted({file for value in strange for file in holders[value]})
        rest = {value: count for value, count in total.items() if value not in strange}
        if len(files) > len(counts) / 2 and len(counts) > 1:
            break
        if explain(rest) is not None:
            return _stray(counts, files, strange, ", ".join(str(value) for value in list(rest)[:12]))
    if len(values) > 16:
        return _grey(counts, [min(counts, key=lambda file: (_share_near(counts[file]), str(file)))])
    problem = f"has masks with the values {shown}, which are neither 0/1, nor 0/255, nor class indices 0, 1, 2, …"
    fix = "Give each class one value (0, 1, 2, …), or say how to read the masks with --labels."
    return S2MNetError(first.parent, problem, fix)


def _is_even(values: list[int]) -> bool:
    """Equal steps from 0 on; steps of at least 5 may differ by one (0, 128, 255)."""
    steps = [after - before for before, after in pairwise(values)]
    return max(steps) - min(steps) <= (1 if min(steps) >= 5 else 0)


def _is_noise(total: Histogram, share: float = NOISE_SHARE) -> bool:
    """Whether the values scatter around both 0 and 255: many of them, or some on either side."""
    extra = [value for value in total if value not in (0, 255)]
    if max(total) > 255 or max(total) < 255 - NOISE_REACH or min(total) > NOISE_REACH:
        return False
    both_sides = any(value <= NOISE_REACH for value in extra) and any(value >= 255 - NOISE_REACH for value in extra)
    return (len(extra) >= MIN_NOISE_VALUES or both_sides) and _share_near(total) >= share


def _share_near(histogram: Histogram) -> float:
    near = sum(n for value, n in histogram.items() if value <= NOISE_REACH or 255 - NOISE_REACH <= value <= 255)
    return near / max(1, sum(histogram.values()))


def _grey_masks(counts: Mapping[Path, Histogram]) -> list[Path]:
    return sorted(file for file, held in counts.items() if _share_near(held) < NOISE_SHARE_OF_ONE_MASK)


def _stray(counts: Mapping[Path, Histogram], files: list[Path], strange: set[int], others: str) -> S2MNetError:
    held = {value: count for value, count in sorted(counts[files[0]].items()) if value in strange and count}
    shown = ", ".join(f"{value} on {count} px" for value, count in list(held.items())[:5])
    more = f" (as {len(files) - 1} more masks do)" if len(files) > 1 else ""
    problem = f"has the value {shown}{more}; the other masks have only {others}"
    fix = "Correct the mask, or say how to read all masks with --labels binary, threshold or classes."
    return S2MNetError(files[0], problem, fix)


def _grey(counts: Mapping[Path, Histogram], files: list[Path]) -> S2MNetError:
    share = 1 - _share_near(counts[files[0]])
    more = f", as {len(files) - 1} more masks do" if len(files) > 1 else ""
    problem = (
        f"looks like a grey-level image ({len(counts[files[0]])} values; {share:.0%} of the pixels near neither 0 nor "
        f"255){more}"
    )
    fix = "Replace it by the mask, or use --labels threshold if its edges are only blurred."
    return S2MNetError(files[0], problem, fix)
