"""What the values of a mask mean: inferred from all masks together, stored with the model, restored on writing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from s2mnet.data.label_rules import (
    Histogram,
    explain,
    histogram,
    instances,
    masks_at_fault,
    no_explanation,
    numbered_objects,
    pixels_of,
    total_of,
)
from s2mnet.errors import S2MNetError

IGNORE_INDEX = 255
LabelRule = Literal["auto", "binary", "threshold", "classes"]
LABEL_RULES: tuple[LabelRule, ...] = ("auto", "binary", "threshold", "classes")


class LabelMap(BaseModel):
    """Raw mask values to class indices, and back.

    Attributes:
        kind: "classes": each value stands for its class, any other is an error. "threshold": above 127 is
            foreground. "binary": above 0 is foreground.
        values: the original value of each class index; index 0 is background.
        ignore_value: the original value of pixels without a truth, or None. They become index 255.
        names: one name per class.
        regions: structures that overlap, by name, each the values of the classes it is made of (SPEC 2.5). With them
            the network predicts regions, a sigmoid each, and metrics are of regions; without, of exclusive classes.

    Example:
        >>> labels = LabelMap(kind="classes", values=[0, 10, 20], ignore_value=255)
        >>> labels.encode(np.array([[0, 20, 255]]), "a.png").tolist()
        [[0, 2, 255]]
        >>> labels.decode(np.array([[0, 2, 255]])).tolist()
        [[0, 20, 255]]
        >>> labels.num_classes, labels.num_outputs, labels.names
        (3, 3, ['background', 'class 1', 'class 2'])
        >>> LabelMap(kind="classes", values=[0, 1, 2], regions={"tumour": [1, 2], "core": [2]}).structures
        {'tumour': (1, 2), 'core': (2,)}
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["threshold", "classes", "binary"]
    values: list[int] = Field(min_length=2, max_length=IGNORE_INDEX)
    ignore_value: int | None = None
    names: list[str] = Field(default_factory=list)
    regions: dict[str, list[int]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _default_names(cls, data: object) -> object:
        if isinstance(data, Mapping) and not data.get("names") and isinstance(data.get("values"), list | tuple):
            count = len(data["values"])
            names = ["background", "foreground"] if count == 2 else ["background"]
            return {**data, "names": names + [f"class {index}" for index in range(len(names), count)]}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> LabelMap:
        stored = self.values + ([] if self.ignore_value is None else [self.ignore_value])
        if len(set(stored)) != len(stored) or min(stored) < 0 or max(stored) > 65535:
            raise ValueError("values and ignore_value must be distinct and in 0..65535")
        if len(self.names) != len(self.values):
            raise ValueError("names must hold one name per value")
        if self.kind != "classes" and (len(self.values) != 2 or self.ignore_value is not None):
            raise ValueError(f"the kind {self.kind!r} has two values and no ignore_value")
        for name, members in self.regions.items():
            if not members or not set(members) <= set(self.values[1:]):
                raise ValueError(f"the region {name!r} must be made of classes other than the background")
        if self.regions and len(np.unique(self.membership, axis=1).T) < self.num_classes:
            raise ValueError("regions must tell the classes apart: each class in at least one, no two in the same ones")
        return self

    @property
    def num_classes(self) -> int:
        """Classes, background included."""
        return len(self.values)

    @property
    def num_outputs(self) -> int:
        """Channels of the network: one per region; without regions one logit for two classes, else one per class."""
        return len(self.regions) or (1 if self.num_classes == 2 else self.num_classes)

    @property
    def outputs(self) -> list[str]:
        """What each channel of the probabilities is."""
        return list(self.names) if self.exclusive else list(self.structures)

    @property
    def exclusive(self) -> bool:
        """Whether the outputs exclude each other (a softmax with the background); else each is a sigmoid."""
        return self.num_outputs > 1 and not self.regions

    @property
    def structures(self) -> dict[str, tuple[int, ...]]:
        """What is predicted, measured and shown, as class indices: the regions, or each class except the background."""
        index = {value: place for place, value in enumerate(self.values)}
        if self.regions:
            return {name: tuple(index[value] for value in members) for name, members in self.regions.items()}
        return {name: (place,) for place, name in enumerate(self.names) if place}

    @property
    def membership(self) -> np.ndarray:
        """Whether a class belongs to a structure: bool (structures, classes)."""
        return np.array([np.isin(np.arange(self.num_classes), members) for members in self.structures.values()])

    @property
    def raw_values(self) -> frozenset[int]:
        """The mask values that have a meaning of their own; empty where a threshold decides."""
        return (
            frozenset(self.values if self.ignore_value is None else [*self.values, self.ignore_value])
            if self.kind == "classes"
            else frozenset()
        )

    def encode(self, raw: np.ndarray, where: str | Path) -> np.ndarray:
        """Class indices of a raw mask.

        Args:
            raw: (H, W) integers, as :func:`s2mnet.data.images.read_mask` gives them.
            where: the file, for the error message.

        Returns:
            (H, W) uint8: class index, 255 where there is no truth.

        Raises:
            S2MNetError: a value that stands for no class; names it and its number of pixels.
        """
        counts = histogram(raw)
        indices = [index for index in self._indices(counts) if index is not None]
        if len(indices) < len(counts):
            raise self._unexpected(counts, where)
        if raw.dtype == np.uint8:  # looked up rather than searched for
            table = np.zeros(256, np.uint8)
            table[list(counts)] = indices
            return table.take(raw)
        return np.array(indices, dtype=np.uint8)[np.searchsorted(list(counts), raw)]

    def encode_counts(self, counts: Mapping[int, int], where: str | Path) -> dict[int, int]:
        """Pixels per class index from pixels per raw value: :meth:`encode` for a histogram, with the same error."""
        result: dict[int, int] = {}
        for count, index in zip(counts.values(), self._indices(counts), strict=True):
            if index is None:
                raise self._unexpected(counts, where)
            result[index] = result.get(index, 0) + count
        return result

    def foreground(self, values: Iterable[int]) -> frozenset[int]:
        """Those of some raw values that stand for a class other than the background.

        Example:
            >>> sorted(LabelMap(kind="threshold", values=[0, 255]).foreground([0, 3, 127, 128, 255]))
            [128, 255]
        """
        values = list(values)
        table = zip(values, self._indices(values), strict=True)
        return frozenset(value for value, index in table if index not in (None, 0, IGNORE_INDEX))

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """Original values of class indices: uint8, or uint16 if a value is above 255.

        Raises:
            S2MNetError: an index that is no class (255 is allowed where there is an ignore value).
        """
        stored = dict(enumerate(self.values)) | ({} if self.ignore_value is None else {IGNORE_INDEX: self.ignore_value})
        table = np.zeros(256, np.uint8 if max(stored.values()) <= 255 else np.uint16)
        table[list(stored)] = list(stored.values())
        if indices.size and not 0 <= indices.min() <= indices.max() < self.num_classes:
            strange = [index for index in np.unique(indices).tolist() if index not in stored]
            if strange:
                problem = f"contain the index {strange[0]}; this label map has {sorted(stored)}"
                raise S2MNetError("The class indices", problem, "Pass indices of this label map.")
        return table.take(indices)

    def describe(self) -> str:
        """One sentence for the screen and the report.

        Example:
            >>> LabelMap(kind="threshold", values=[0, 255]).describe()
            'two labels: 0 background, 255 foreground (JPEG or grey noise: values ≤ 127 read as background)'
        """
        count = "two" if self.num_classes == 2 else str(self.num_classes)
        labels = ", ".join(f"{value} {name}" for value, name in zip(self.values, self.names, strict=True))
        note = {
            "threshold": " (JPEG or grey noise: values ≤ 127 read as background)",
            "binary": " (any value above 0 read as foreground)",
            "classes": "" if self.ignore_value is None else f"; {self.ignore_value} is ignored (no truth there)",
        }[self.kind]
        regions = [f"{name} = {' + '.join(map(str, members))}" for name, members in self.regions.items()]
        return f"{count} labels: {labels}{note}" + (f"; regions that overlap: {', '.join(regions)}" if regions else "")

    def _indices(self, values: Sequence[int] | Mapping[int, int]) -> list[int | None]:
        if self.kind != "classes":
            limit = 127 if self.kind == "threshold" else 0
            return [int(value > limit) for value in values]
        table = {value: index for index, value in enumerate(self.values)}
        if self.ignore_value is not None:
            table[self.ignore_value] = IGNORE_INDEX
        return [table.get(value) for value in values]

    def _unexpected(self, counts: Mapping[int, int], where: str | Path) -> S2MNetError:
        table = self._indices(counts)
        strange = [value for value, index in zip(counts, table, strict=True) if index is None]
        allowed = ", ".join(map(str, self.values))
        allowed += "" if self.ignore_value is None else f" and {self.ignore_value} (ignored)"
        problem = f"has the value {pixels_of(strange, counts)}; the labels are only {allowed}"
        return S2MNetError(where, problem, "Correct the mask, or say how to read the masks with --labels.")


def infer_labels(
    counts: Mapping[Path, Histogram], labels: LabelRule = "auto", read: Callable[[Path], np.ndarray] | None = None
) -> LabelMap:
    """Infer what the mask values mean from the value histograms of all masks together.

    "auto" accepts, in this order: two values 0 and v; class indices 0..n (n ≤ 8; a file may lack some), with 255 as
    ignore if present; evenly spaced values such as 0, 10, 20, 30 or 0, 128, 255; noisy 0/255 (at least 98 % of
    all pixels within 40 of 0 or 255, many distinct values) as a threshold at 127. Anything else is an error.

    Args:
        counts: number of pixels of each raw value, for each mask.
        labels: "auto", or the reading to use instead: "binary" (above 0 is foreground), "threshold" (above 127),
            "classes" (values are class indices; 255 is ignored).
        read: reads a mask, to see whether its values number objects; without it that is not checked.

    Returns:
        The label map.

    Raises:
        S2MNetError: no masks, all masks empty, one file with a value that contradicts the others, instance
            labels, grey-level images; each error names a file or the folder.

    Example:
        >>> infer_labels({Path("a.png"): {0: 90, 255: 10}, Path("b.png"): {0: 100}}).describe()
        'two labels: 0 background, 255 foreground'
    """
    if labels not in LABEL_RULES:
        raise S2MNetError("--labels", f"is {labels!r}", f"Choose one of {', '.join(LABEL_RULES)}.")
    if not counts:
        raise S2MNetError("The folder", "has no masks", "Choose a folder with masks.")
    total = total_of(counts)
    first = min(counts)
    if set(total) == {0}:
        fix = "Check that the masks were exported with their contours filled."
        raise S2MNetError(first.parent, "has only empty masks (all values are 0)", fix)
    if min(total) < 0 or max(total) > 65535:
        wrong = next(value for value in sorted(total) if not 0 <= value <= 65535)
        file, pixels = next((file, held[wrong]) for file, held in counts.items() if wrong in held)
        problem = f"has the value {wrong} on {pixels} px; values must be within 0 to 65535"
        raise S2MNetError(file, problem, "Renumber the classes.")
    if labels == "classes":
        return _as_classes(counts, total)
    if labels != "auto":
        if labels == "threshold" and max(total) <= 127:
            problem = f"has only empty masks (no value is above 127; the largest is {max(total)})"
            raise S2MNetError(first.parent, problem, "Use --labels binary or omit --labels.")
        return LabelMap(kind=labels, values=[0, 255])
    if len(total) == 1:
        problem = f"has the value {next(iter(total))} everywhere in all masks, so no background"
        raise S2MNetError(first.parent, problem, "Check the export of the masks; background must be 0.")
    masks_at_fault(counts, total)
    reading = explain(total)
    if reading is None:
        raise no_explanation(counts, total)
    kind, values, ignore_value = reading
    if read is not None and (numbered := numbered_objects(counts, values, read)):
        raise instances(numbered, max(set(counts[numbered]) & set(values)))
    return LabelMap(kind=kind, values=values, ignore_value=ignore_value)


def _as_classes(counts: Mapping[Path, Histogram], total: Histogram) -> LabelMap:
    indices = [value for value in total if value != IGNORE_INDEX]
    highest = max(indices, default=0)
    if highest == 0:
        problem = f"has only empty masks (the values are {sorted(total)}, and --labels classes ignores 255)"
        raise S2MNetError(min(counts).parent, problem, "Omit --labels.")
    if highest > IGNORE_INDEX - 1:
        file = next(file for file, held in counts.items() if highest in held)
        raise S2MNetError(file, f"has the class index {highest}; the highest is 254", "Renumber the classes.")
    ignore_value = IGNORE_INDEX if IGNORE_INDEX in total else None
    return LabelMap(kind="classes", values=list(range(highest + 1)), ignore_value=ignore_value)
