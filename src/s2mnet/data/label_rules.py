"""Rules that recognise mask values: class indices, 0/255, noise around 0/255, instance labels, grey images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import combinations, pairwise
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
MAX_NAMED = 10  # masks of one error
FROM_FIRST_SHARE = 0.9  # of such masks, those that lack no number: others lost one in editing
MAX_CHECKED = 50  # masks in which values are taken to be objects
SINGLE_SHARE = 0.95  # of those, values that are one connected object: others hide parts of a few
NESTED_SHARE = 0.25  # pairs of objects of which one lies within the bounding box of the other


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
        fix = (
            "Name the values in dataset.yaml, background first (classes: {1: background, 2: cell}), or renumber the "
            "masks so that background is 0."
        )
        return S2MNetError(first, f"has no background: no mask has the value 0 (no 0 among {shown})", fix)
    if len(values) > MAX_CLASSES and values[-1] < 2 * len(values) and not 128 <= values[-1] <= 255:
        widest = max(counts, key=lambda file: (max(counts[file]), str(file)))
        return instances(widest, max(counts[widest]))
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
    where = ", ".join(
        f"{value} on {counts[holders[value][0]][value]} px of {holders[value][0].name}" for value in rarest[:5]
    )
    problem = (
        f"has masks with the values {shown} ({where}), which are neither 0/1, nor 0/255, nor class indices 0, 1, 2, …"
    )
    fix = "Give each class one value (0, 1, 2, …), or say how to read the masks with --labels."
    return S2MNetError(first.parent, problem, fix)


def instances(file: Path, highest: int) -> S2MNetError:
    """The error for masks whose values number objects; the file is the one with the most."""
    problem = f"has the values 0 to {highest}, and other masks have other ranges: these look like instance labels"
    fix = (
        "Use --labels binary to make every object foreground. If each number is a class, name the classes in "
        "dataset.yaml or use --labels classes."
    )
    return S2MNetError(file, problem, fix)


def numbered_objects(
    counts: Mapping[Path, Histogram], values: list[int], read: Callable[[Path], np.ndarray]
) -> Path | None:
    """The mask with the most objects if the values number the objects of each mask; None if they may be classes.

    They do if nearly every mask has the first few of the values, not always equally many, and in the masks with
    several nearly every value is one connected object and few lie within the bounding box of another, as a tumour in
    an organ does.
    """
    marked = {file: [value for value in values[1:] if held.get(value)] for file, held in counts.items()}
    from_first = [len(present) for present in marked.values() if present and present == values[1 : len(present) + 1]]
    several = sorted((file for file in marked if len(marked[file]) > 1), key=lambda file: -len(marked[file]))
    if len(set(from_first)) < 2 or len(from_first) < FROM_FIRST_SHARE * sum(map(bool, marked.values())):
        return None
    objects, single, pairs, nested = np.sum([_layout(read(file)) for file in several[:MAX_CHECKED]], axis=0)
    return several[0] if single >= SINGLE_SHARE * objects and nested <= NESTED_SHARE * pairs else None


def _layout(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Values of a mask, those that are one connected object, pairs of values, pairs of which one lies in the other."""
    from scipy.ndimage import find_objects, generate_binary_structure, label

    touching = generate_binary_structure(mask.ndim, mask.ndim)
    values, ranks = np.unique(mask, return_inverse=True)
    boxes = find_objects(ranks.reshape(mask.shape))[: len(values) - 1]
    single = sum(label(ranks.reshape(mask.shape)[box] == rank, touching)[1] == 1 for rank, box in enumerate(boxes, 1))
    nested = sum(
        any(
            all(a.start <= b.start and b.stop <= a.stop for a, b in zip(*order, strict=True))
            for order in (two, two[::-1])
        )
        for two in combinations(boxes, 2)
    )
    return len(boxes), single, len(boxes) * (len(boxes) - 1) // 2, nested


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


def pixels_of(values: Collection[int], held: Histogram) -> str:
    """Some values of a mask with their pixels.

    Example:
        >>> pixels_of({3, 7, 9}, {0: 50, 7: 2, 3: 1})
        '3 on 1 px, 7 on 2 px'
    """
    marked = [f"{value} on {held[value]} px" for value in sorted(values) if held.get(value)]
    return ", ".join(marked[:5]) + (f" and {len(marked) - 5} more values" if len(marked) > 5 else "")


def _stray(counts: Mapping[Path, Histogram], files: list[Path], strange: set[int], others: str) -> S2MNetError:
    also = [f"{file.name} has {pixels_of(strange, counts[file])}" for file in files[1:MAX_NAMED]]
    also += [f"{len(files) - MAX_NAMED} more masks have such values"] if len(files) > MAX_NAMED else []
    shown = "; ".join([pixels_of(strange, counts[files[0]]), *also])
    problem = f"has the value {shown}; the other masks have only {others}"
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
