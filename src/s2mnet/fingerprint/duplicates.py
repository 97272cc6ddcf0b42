"""Images that are equal or look alike: copies under other names, and neighbours in a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from s2mnet.data.cases import Split
from s2mnet.fingerprint.pair import InspectedPair
from s2mnet.fingerprint.record import Duplicate

# Tuned on fundus, colonoscopy (single frames and video), dermoscopy, ultrasound and histology: with these values every
# pair among 1000 polyps shows one polyp, and no two patients' retinas are a pair although all of them look alike.
HASH_DISTANCE = 16
CORRELATION = 0.7
STRICTEST = 0.95
DETAIL = 4.0  # px of the thumbnail: coarser differences in brightness do not count
FRAME = 40  # darker regions that touch the border are the black surround of the picture
LEAST_SHOWN = 0.2  # a picture whose frame leaves less than this share is dark, not framed
MAX_KEPT = 125  # pairs of each group
GROUPS = ("exact across", "near across", "exact within", "near within")
ROWS, COLUMNS = 256, 8192  # of a block of pairs: 8 MB
CHUNK = 1024  # images at a time: intermediate results take several times the memory of the final ones


def find_duplicates(facts: Sequence[InspectedPair], names: Sequence[str]) -> tuple[list[Duplicate], dict[str, int]]:
    """Pairs of images that are equal or look alike. Constant images are skipped, as are pairs of one patient or volume.

    Equal: the same hash of the decoded pixels. Of many copies, each is paired with the first; and one for each split is
    compared with other images, so that a thousand copies are not half a million pairs. Alike: a 64-bit perceptual hash
    (the 8×8 lowest frequencies of a DCT, each above or below their median) that differs in at most 16 bits, and
    thumbnails of 32×32 px that correlate. The black frame and the coarse brightness of the thumbnails are removed
    first. The required correlation is at least 0.7, and half-way from the 90th percentile of all pairs to 1, so that
    images of one anatomy are not all duplicates.

    Args:
        facts: the images.
        names: the name of each in the result.

    Returns:
        At most 125 pairs of each group, across splits first, then equal before alike, then by correlation; and the
        number of all pairs of each group.
    """
    counts = dict.fromkeys(GROUPS, 0)
    best: dict[str, list[tuple[float, str, str, int, int]]] = {group: [] for group in GROUPS}
    for kind, i, j, correlation in _pairs(facts):
        if facts[i].case.group != facts[j].case.group:
            group = f"{kind} {'across' if facts[i].split != facts[j].split else 'within'}"
            counts[group] += 1
            best[group].append((-round(correlation, 3), names[i], names[j], i, j))
            if len(best[group]) > 2 * MAX_KEPT:
                best[group] = sorted(best[group])[:MAX_KEPT]
    kept = [
        Duplicate(
            kind="exact" if group.startswith("exact") else "near", first=first, second=second,
            splits=(facts[i].split, facts[j].split), correlation=-minus,
        )
        for group in GROUPS
        for minus, first, second, i, j in sorted(best[group])[:MAX_KEPT]
    ]  # fmt: skip
    return kept, counts


def perceptual_hash(thumbnails: NDArray[np.float32]) -> NDArray[np.bool_]:
    """64 bits per thumbnail that survive rescaling, recompression and small changes of brightness.

    Args:
        thumbnails: (N, 32, 32).

    Returns:
        (N, 64).

    Example:
        >>> noise = np.random.default_rng(0).uniform(0, 100, (1, 32, 32)).astype(np.float32)
        >>> bool((perceptual_hash(noise) == perceptual_hash(2 * noise + 9)).all())
        True
    """
    from scipy.fft import dctn

    low = dctn(thumbnails.astype(np.float64), axes=(1, 2), norm="ortho")[:, :8, :8].reshape(len(thumbnails), 64)
    return low > np.median(low, axis=1, keepdims=True)


def _pairs(facts: Sequence[InspectedPair]) -> Iterator[tuple[Literal["exact", "near"], int, int, float]]:
    first: dict[bytes, int] = {}
    apart: dict[tuple[bytes, Split], int] = {}
    for place, fact in enumerate(facts):
        if fact.constant:
            continue
        apart.setdefault((fact.image_hash, fact.split), place)
        if (original := first.setdefault(fact.image_hash, place)) != place:
            yield "exact", original, place, 1.0
    used = list(apart.values())
    if len(used) > 1:
        for i, j, correlation in _alike(np.stack([facts[place].thumbnail for place in used])):
            if facts[used[i]].image_hash != facts[used[j]].image_hash:
                yield "near", used[i], used[j], correlation


def _alike(thumbnails: NDArray[np.float32]) -> Iterator[tuple[int, int, float]]:
    detail = np.empty((len(thumbnails), thumbnails[0].size), np.float32)
    shown = np.empty(detail.shape, np.bool_)
    signs = np.empty((len(thumbnails), 64), np.float32)
    for start in range(0, len(thumbnails), CHUNK):
        chunk = slice(start, start + CHUNK)
        detail[chunk], shown[chunk] = _details(thumbnails[chunk])
        signs[chunk] = np.where(perceptual_hash(thumbnails[chunk]), 1, -1)
    least = _least_correlation(detail, shown)
    # Of ±1 the product of two hashes is 64 − 2 · (bits that differ).
    for start, other in _blocks(len(signs)):
        alike = signs[start : start + ROWS] @ signs[other : other + COLUMNS].T >= 64 - 2 * HASH_DISTANCE
        rows, columns = np.divmod(np.flatnonzero(alike), alike.shape[1])  # np.nonzero is slower than the product
        rows, columns = rows + start, columns + other
        later = columns > rows
        rows, columns = rows[later], columns[later]
        for part in range(0, len(rows), 4096):
            i, j = rows[part : part + 4096], columns[part : part + 4096]
            correlation = _correlate(detail[i], detail[j], shown[i], shown[j])
            for place in np.flatnonzero(correlation >= least):
                yield int(i[place]), int(j[place]), float(correlation[place])


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    """First row and first column of the blocks that hold every pair (i, j) with i < j."""
    for start in range(0, count, ROWS):
        for other in range(start, count, COLUMNS):
            yield start, other


def _details(thumbnails: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Each thumbnail without frame and coarse brightness, at even contrast; and the pixels outside the frame."""
    from scipy.ndimage import gaussian_filter

    def blur(maps: NDArray[Any], sigma: float) -> NDArray[np.float32]:
        return gaussian_filter(maps, (0, sigma, sigma), output=np.float32)

    shown = np.stack([_shown(thumbnail) for thumbnail in thumbnails]).astype(np.float32)
    coarse = blur(thumbnails * shown, DETAIL) / np.maximum(blur(shown, DETAIL), 1e-6)
    detail = ((thumbnails - coarse) * shown).astype(np.float32)
    contrast = np.sqrt(blur(detail**2, 2 * DETAIL) / np.maximum(blur(shown, 2 * DETAIL), 1e-6))
    detail /= contrast + np.float32(2)  # plus two grey levels, so that noise in flat parts is not amplified
    return detail.reshape(len(detail), -1), shown.reshape(len(shown), -1) > 0


def _shown(thumbnail: NDArray[np.float32]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_dilation, label

    dark, _ = label(thumbnail < FRAME)
    border = np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]])
    frame = np.isin(dark, np.unique(border[border > 0]))
    shown = ~binary_dilation(frame, structure=np.ones((3, 3)))
    return shown if shown.mean() > LEAST_SHOWN else np.ones_like(shown)


def _least_correlation(detail: NDArray[np.float32], shown: NDArray[np.bool_]) -> float:
    chosen = np.unique(np.linspace(0, len(detail) - 1, min(len(detail), 400)).round().astype(int))
    i, j = np.triu_indices(len(chosen), 1)
    parts = range(0, len(i), 4096)
    pieces = [(chosen[i[part : part + 4096]], chosen[j[part : part + 4096]]) for part in parts]
    usual = np.percentile(
        np.concatenate([_correlate(detail[a], detail[b], shown[a], shown[b]) for a, b in pieces]), 90, method="lower"
    )
    return float(max(CORRELATION, min(STRICTEST, (1 + usual) / 2)))


def _correlate(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    shown_first: NDArray[np.bool_],
    shown_second: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Correlation of rows over the pixels that both show."""
    product = np.einsum("np,np->n", first, second, dtype=np.float64)
    weights_first, weights_second = shown_first.astype(np.float32), shown_second.astype(np.float32)
    energy = np.einsum("np,np->n", first**2, weights_second) * np.einsum("np,np->n", second**2, weights_first)
    return product / np.sqrt(np.maximum(energy.astype(np.float64), 1e-9))
