"""Images and masks as files with matching names: in folders of equal structure, or side by side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from pathlib import Path, PurePath

import numpy as np

from s2mnet.data import read_mask
from s2mnet.data.images import is_image_file
from s2mnet.datasets.reading import check_shapes
from s2mnet.datasets.record import Record
from s2mnet.errors import S2MNetError
from s2mnet.importing.affixes import Affix, common_pairs, patient_of, role_of_folder, split_of_folder, without_roles
from s2mnet.importing.content import Content, is_picture, no_pairs, stem_of, unique_names, visible
from s2mnet.importing.pictures import Pair, PairSet
from s2mnet.text import counted, listed
from s2mnet.volumes.nifti import read_nifti

_SAMPLE = 4  # files read to see whether they are masks
_MOST_LABELS = 24  # distinct values in a mask
_TABLE = "List the pairs in a table and use --pairs TABLE."

Key = Callable[[PurePath], object]


@dataclass(frozen=True)
class Matched:
    """Images with their masks, the images without, and the masks that belong to none."""

    pairs: dict[Path, list[Path]]
    without: list[Path]
    alone: list[Path]


def folders_fit(root: Path) -> bool:
    """Whether images and masks are in folders of their own and most masks have an image."""
    return _worth(_in_folders(root))


def names_fit(root: Path) -> bool:
    """Whether images and masks are side by side and their names differ in one way."""
    return not any(_by_words(root)) and bool(_side_by_side(root))


def read_folders(root: Path) -> Content:
    """List the images and masks of folders such as ``images/`` and ``masks/``, at any depth.

    Raises:
        S2MNetError: no image has a mask, or an image has two.
    """
    return _content(root, _in_folders(root))


def read_names(root: Path) -> Content:
    """List the images and masks whose names differ in a beginning or an end, such as ``a.jpg`` and ``a_seg.png``.

    Raises:
        S2MNetError: no image has a mask, or the names allow several pairs.
    """
    fitting = _side_by_side(root)
    if len(fitting) > 1:
        ways = listed([f"{image} with {mask}" for image, mask in fitting])
        raise S2MNetError(root, f"has names that allow several pairs: {ways}", _TABLE)
    return _content(root, next(iter(fitting.values()), Matched({}, [], [])))


def _worth(matched: Matched) -> bool:
    masks = sum(map(len, matched.pairs.values()))
    return masks > len(matched.alone)


def _by_words(root: Path) -> tuple[list[Path], list[Path]]:
    """The images and the masks by the names of their folders; none where no folder is called after masks."""
    files = [file for file in visible(root) if is_picture(file)]
    roles = {file: role_of_folder(file.relative_to(root).parent) for file in files}
    masks = [file for file in files if roles[file] == "mask"]
    images = [file for file in files if roles[file] == "image"] or [file for file in files if not roles[file]]
    return (images, masks) if images and masks else ([], [])


def _in_folders(root: Path) -> Matched:
    images, masks = _by_words(root)
    if not masks:
        images, masks = _by_content(root)
    keys: tuple[Key, ...] = (without_roles, split_of_folder, lambda _: None)
    matches = [_match(root, images, masks, key) for key in keys]
    # The strictest key that fits: with a looser one, images of one name in two splits would share their masks.
    return next(filter(_worth, matches), matches[0])


def _by_content(root: Path) -> tuple[list[Path], list[Path]]:
    """The files of the only two folders with pictures, where one alone holds masks."""
    groups: dict[Path, list[Path]] = defaultdict(list)
    for file in visible(root):
        if is_picture(file):
            groups[file.parent].append(file)
    if len(groups) == 2:
        for images, masks in permutations(groups.values()):
            if _are_masks(masks) and not _are_masks(images):
                return images, masks
    return [], []


def _match(root: Path, images: Sequence[Path], masks: Sequence[Path], key: Key) -> Matched:
    """Pair by a key of the folder and by the names without the affixes that pair most files."""
    counts = common_pairs({stem_of(file) for file in images}, {stem_of(file) for file in masks})
    if not counts:
        return Matched({}, list(images), list(masks))
    image_affix, mask_affix = min(counts, key=lambda pair: (-counts[pair], len(str(pair[0]) + str(pair[1])), pair))
    return _paired(root, images, masks, key, image_affix.base, mask_affix.numbered_base)


def _paired(
    root: Path,
    images: Sequence[Path],
    masks: Sequence[Path],
    key: Key,
    image_base: Callable[[str], str | None],
    mask_base: Callable[[str], str | None],
) -> Matched:
    def place(file: Path, base: str | None) -> tuple[object, str] | None:
        return None if base is None else (key(file.relative_to(root).parent), base)

    held: dict[tuple[object, str] | None, list[Path]] = defaultdict(list)
    for mask in masks:
        held[place(mask, mask_base(stem_of(mask)))].append(mask)
    alone = held.pop(None, [])
    places = {image: place(image, image_base(stem_of(image))) for image in images}
    pairs = {image: held[where] for image, where in places.items() if where in held}
    used = {where for where in places.values() if where in held}
    alone += [mask for where, together in held.items() if where not in used for mask in together]
    return Matched(pairs, [image for image in images if image not in pairs], alone)


def _side_by_side(root: Path) -> dict[tuple[Affix, Affix], Matched]:
    """The pairs of affixes, of images and of masks, that explain most files; several if they do so equally well."""
    files = [file for file in visible(root) if is_picture(file)]
    counts = sum((common_pairs(stems) for stems in _by_folder(files).values()), Counter())
    ways = [pair for one in counts for pair in (one, one[::-1]) if pair[1].role == "mask" != pair[0].role]
    if not ways:  # no words: the content of files says which are masks
        likely = [pair for pair, count in counts.items() if count >= 2 and 2 * count >= len(files) / 2]
        ways = [pair for one in likely for pair in (one, one[::-1]) if _masks_by_content(root, files, *pair)]
    matches = {pair: _with_affixes(root, files, *pair) for pair in ways}
    most = max((len(matched.pairs) for matched in matches.values()), default=0)
    best = {pair: matched for pair, matched in matches.items() if len(matched.pairs) == most}
    same: dict[tuple[Affix, Affix], Matched] = {}
    for pair, matched in sorted(best.items(), key=lambda item: len(str(item[0][0]) + str(item[0][1]))):
        # "_b_mask" and "_a_b_mask" may say the same; of equal pairings the shortest names count
        if all(other.pairs != matched.pairs for other in same.values()):
            same[pair] = matched
    return same


def _by_folder(files: Sequence[Path]) -> dict[Path, set[str]]:
    stems: dict[Path, set[str]] = defaultdict(set)
    for file in files:
        stems[file.parent].add(stem_of(file))
    return stems


def _with_affixes(root: Path, files: Sequence[Path], image_affix: Affix, mask_affix: Affix) -> Matched:
    masks = [file for file in files if mask_affix.numbered_base(stem_of(file)) is not None]
    if mask_affix == Affix():
        masks = [file for file in files if image_affix.base(stem_of(file)) is None]
    images = [file for file in files if file not in set(masks) and image_affix.base(stem_of(file)) is not None]
    return _paired(root, images, masks, lambda folder: folder, image_affix.base, mask_affix.numbered_base)


def _masks_by_content(root: Path, files: Sequence[Path], image_affix: Affix, mask_affix: Affix) -> bool:
    matched = _with_affixes(root, files, image_affix, mask_affix)
    masks = [mask for together in matched.pairs.values() for mask in together]
    return bool(masks) and _are_masks(masks) and not _are_masks(list(matched.pairs))


def _are_masks(files: Sequence[Path]) -> bool:
    """Whether a sample of files holds few distinct whole numbers, one for each pixel."""
    return all(_is_mask(file) for file in files[:: max(1, len(files) // _SAMPLE)][:_SAMPLE])


def _is_mask(file: Path) -> bool:
    try:
        values = read_mask(file) if is_image_file(file) else read_nifti(file).array
        return len(np.unique(values)) <= _MOST_LABELS and bool((values == np.rint(values)).all())
    except S2MNetError:  # colours, for example
        return False


def _content(root: Path, matched: Matched) -> Content:
    if not matched.pairs:
        raise no_pairs(root, "image with its mask")
    for image, masks in matched.pairs.items():
        if len(masks) > 1 and (not is_image_file(image) or len({mask.parent for mask in masks}) > 1):
            shown = listed([mask.relative_to(root).as_posix() for mask in masks], most=3)
            raise S2MNetError(image, f"has several masks: {shown}", f"Move one kind of mask elsewhere. {_TABLE}")
    names = unique_names(list(matched.pairs), root)
    splits = {image: split_of_folder(image.relative_to(root).parent) or "train" for image in matched.pairs}
    single = {image: masks[0] for image, masks in matched.pairs.items() if len(masks) == 1}
    patients = _patients(root, list(matched.pairs))
    pairs = [Pair(names[image], (image,), mask, splits[image], patients[image]) for image, mask in single.items()]
    together = PairSet(pairs)
    records = together.records()
    for image, masks in matched.pairs.items():
        if len(masks) > 1:
            group = patients[image] or names[image]
            records.append(Record(names[image], splits[image], group, image, partial(union, masks)))
    notes = [*together.plane.notes]
    if any(patients.values()):
        held = sorted(set(patients.values()))
        notes.append(f"{counted(len(held), 'patient')} by the names of files: {listed(held, most=3)}.")
    if len(single) < len(matched.pairs):
        several = len(matched.pairs) - len(single)
        notes.append(f"{counted(several, 'image')} with several masks: all objects are foreground.")
        records = [_two_valued(record) for record in records]
    if matched.alone:
        shown = listed([file.name for file in matched.alone], most=5)
        notes.append(f"{len(matched.alone)} masks without an image are left out: {shown}.")
    shown_without = [file.relative_to(root).as_posix() for file in matched.without]
    return Content(records, together.dataset, shown_without, notes)


def _patients(root: Path, images: Sequence[Path]) -> dict[Path, str]:
    """The patient of each image, if every name states one and some have several images; else all are empty."""
    patients = {image: patient_of(image.relative_to(root)) for image in images}
    known = all(patients.values()) and len(set(patients.values())) < len(images)
    return patients if known else dict.fromkeys(images, "")


def _two_valued(record: Record) -> Record:
    return replace(record, mask=partial(union, [record.mask])) if isinstance(record.mask, Path) else record


def union(masks: Sequence[Path]) -> np.ndarray:
    """All objects of one image: 1 where any mask is above 0 (above 127 if it has values above 1), uint8 (H, W).

    Raises:
        S2MNetError: the masks differ in size, or one cannot be read.
    """
    held = {mask: read_mask(mask) for mask in masks}
    check_shapes(held)
    return np.any([mask > (127 if mask.max() > 1 else 0) for mask in held.values()], axis=0).astype(np.uint8)
