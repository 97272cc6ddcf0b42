"""What a data folder holds, as plain values: read by the plan, the screen and the page; stored as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from s2mnet.data.cases import Split
from s2mnet.data.dataset import Dataset
from s2mnet.data.labels import LabelMap
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.fingerprint.problem import Problem, as_error

FILE = "fingerprint.json"
Axis = Literal["rows", "columns"]
AXES: tuple[Axis, ...] = ("rows", "columns")


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(_Facts):
    """Minimum, median and maximum of a number, such as the height of the images in pixels."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value.

        Example:
            >>> Spread.of([3, 1, 2])
            Spread(minimum=1.0, median=2.0, maximum=3.0)
        """
        return cls(minimum=min(values), median=float(np.median(values)), maximum=max(values))


class Distribution(_Facts):
    """Mean, median and quartiles, with the values themselves."""

    mean: float
    lower: float
    median: float
    upper: float
    values: list[float]

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution:
        """Of at least one value; quartiles by linear interpolation.

        Example:
            >>> Distribution.of([1, 2, 3, 4, 5]).upper
            4.0
        """
        lower, median, upper = np.percentile(values, (25, 50, 75)).tolist()
        return cls(mean=float(np.mean(values)), lower=lower, median=median, upper=upper, values=list(values))


class ImageFacts(_Facts):
    """One pair that could be read.

    Attributes:
        image, mask: paths inside the data folder.
        height, width: in pixels, upright.
        channels: 1 if grey, stored as such or as colour with three equal channels, 3 in colour, or those of a stack.
        mode, mask_mode: Pillow's name of the stored form: "L", "RGB", "P", "I;16", … ("other": read by tifffile).
        bits: stored bits per sample of the image.
        foreground: share of foreground among the pixels with a truth; None if the labels were not understood.
    """

    name: str
    split: Split
    image: str
    mask: str
    height: int
    width: int
    channels: int
    mode: str
    mask_mode: str
    bits: int
    foreground: float | None


class Channel(_Facts):
    """Intensities of one channel over all pixels of the train images, in 0..1 of the 8 bits that training uses.

    The percentiles are keyed "0.5", "5", "25", "50", "75", "95" and "99.5".
    """

    mean: float
    std: float
    percentiles: dict[str, float]


class LabelValue(_Facts):
    """A raw mask value, its share of all mask pixels and the number of masks that hold it."""

    value: int
    share: float
    masks: int


class Morphology(_Facts):
    """Shapes of one class, one value for each measured mask that holds it (SPEC 2.1, at the size of the file).

    `thickness_px` is the mean thickness in pixels, see
    :func:`s2mnet.fingerprint.shapes.mean_thickness`.
    """

    tubularity: Distribution
    compactness: Distribution
    irregularity: Distribution
    size: Distribution
    thickness_px: Distribution


class ClassFacts(_Facts):
    """A class as the label map reads it.

    Attributes:
        share: of all pixels with a truth.
        masks: number of masks of each split that hold it.
        morphology: None for the background, and where no measured mask holds the class.
    """

    index: int
    name: str
    value: int
    share: float
    masks: dict[Split, int]
    morphology: Morphology | None


class SpectralEnergy(_Facts):
    """Share of an image's energy within its central K×K frequencies (SPEC 3.3), over the measured images.

    `without_dc` leaves out the mean of the image, which otherwise holds most of the energy; it is None if every
    measured image is constant.
    """

    k: int
    with_dc: Distribution
    without_dc: Distribution | None


class Sides(_Facts):
    """Two classes of one shape, always in the same order: from top to bottom ("rows"), or left to right ("columns").

    See :func:`~s2mnet.fingerprint.sides.find_sides`.
    """

    first: str
    second: str
    axis: Axis
    masks: int
    """How many masks this was measured on."""


class Duplicate(_Facts):
    """Two images that are the same or look alike.

    Attributes:
        kind: "exact": equal pixels. "near": similar, such as neighbours in a video.
        first, second: the images, as paths inside the data folder.
        splits: the split of each.
        correlation: of their thumbnails without frame and coarse brightness; 1 for equal pixels.
    """

    kind: Literal["exact", "near"]
    first: str
    second: str
    splits: tuple[Split, Split]
    correlation: float

    @property
    def across(self) -> bool:
        """Whether the two are in different splits."""
        return self.splits[0] != self.splits[1]

    @property
    def group(self) -> str:
        """The key of `Fingerprint.duplicate_counts`."""
        return f"{self.kind} {'across' if self.across else 'within'}"


class Fingerprint(_Facts):
    """What :func:`~s2mnet.fingerprint.read_folder` or :func:`~s2mnet.fingerprint.inspect_folder` reads in a folder.

    Numbers are of the pairs that could be read. Only an inspection fills in `spectrum`, `duplicates`, `images` and the
    morphology of `classes`, and looks for the problems that follow from them.

    Attributes:
        root: the folder, as the caller named it.
        name: of the data set, or of the folder.
        dataset: the content of its ``dataset.yaml``.
        split_rule: how the split was made.
        counts: pairs per split, readable or not.
        height, width: in pixels; None if nothing could be read.
        channels: 1 if every image is grey (stored as grey, or as RGB with equal channels), 3 in colour, or the number
            of channels of a stack.
        stored: names of those channels; empty for grey and colour.
        intensity: one entry per channel; empty if no train image could be read.
        label_map: what the mask values mean; None if they were not understood.
        label_rule: the label map and where it comes from, in one sentence.
        label_values: the raw values by falling share of pixels, at most 256 of `num_label_values`.
        classes: background first; empty without a label map.
        foreground_share: foreground among the pixels with a truth, median over the train masks with foreground.
        thickness_px: mean thickness (:func:`~s2mnet.fingerprint.shapes.mean_thickness`) of the thinnest class: the
            smallest of the medians over those of at most 50 train masks that hold the class.
        thinnest: name of that class.
        growth: of that thickness with the size of the images, see :func:`~s2mnet.fingerprint.summary.growth`; None if
            the sizes hardly differ.
        sides: pairs of classes that mirroring would swap, in the same masks.
        contrast: of the whole foreground to its surroundings in each channel
            (:func:`~s2mnet.fingerprint.shapes.contrast`), median over those masks.
        morphology_masks, spectrum_images: number of measured masks and images, evenly chosen.
        spectrum: for K = 16, 24, 32 and 48.
        duplicates: at most 125 of each group, the most serious first; `duplicate_counts` counts all of each, by "exact
            across", "near across", "exact within" and "near within" (splits).
        images: one entry per pair that could be read.
        problems: worst first.

    Example:
        >>> Fingerprint(name="polyps").problems
        []
    """

    root: str = ""
    name: str
    dataset: Dataset = Dataset()
    split_rule: str = ""
    counts: dict[Split, int] = {}
    height: Spread | None = None
    width: Spread | None = None
    channels: int = 0
    stored: list[str] = []
    intensity: list[Channel] = []
    label_map: LabelMap | None = None
    label_rule: str = ""
    label_values: list[LabelValue] = []
    num_label_values: int = 0
    classes: list[ClassFacts] = []
    foreground_share: float = 0.0
    thickness_px: float = 0.0
    thinnest: str = ""
    growth: tuple[float, float] | None = None
    sides: list[Sides] = []
    contrast: list[float] = []
    morphology_masks: int = 0
    spectrum_images: int = 0
    spectrum: list[SpectralEnergy] = []
    duplicates: list[Duplicate] = []
    duplicate_counts: dict[str, int] = {}
    images: list[ImageFacts] = []
    problems: list[Problem] = []

    @property
    def size_range(self) -> str:
        """Smallest and largest height × width in pixels; empty if nothing could be read."""
        height, width = self.height, self.width
        if height is None or width is None:
            return ""
        return f"{height.minimum:.0f}×{width.minimum:.0f} to {height.maximum:.0f}×{width.maximum:.0f}"

    @property
    def warnings(self) -> list[str]:
        """The problems of severity "warning", as sentences."""
        return [str(problem) for problem in self.problems if problem.severity == "warning"]

    def raise_errors(self) -> None:
        """Raise if training would refuse the folder.

        Raises:
            S2MNetError: the one problem that is an error, or a list of them that names up to ten files.
        """
        if error := as_error(self.problems, Path(self.root or self.name)):
            raise error

    def count_of(self, fact: Literal["channels", "mode", "mask_mode", "bits"]) -> dict[int | str, int]:
        """How many images have each value of a fact, the most common first."""
        values = [getattr(image, fact) for image in self.images]
        return {value: values.count(value) for value in sorted(set(values), key=lambda v: (-values.count(v), str(v)))}

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_atomically(Path(path), self.model_dump_json(indent=1).encode("utf-8"))

    @classmethod
    def load(cls, path: Path) -> Fingerprint:
        """Read what :meth:`save` wrote.

        Raises:
            S2MNetError: no such file, or not one that `save` wrote.
        """
        fix = "Run s2mnet inspect again."
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except OSError as error:
            raise S2MNetError(path, f"cannot be read ({error.strerror})", fix) from None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise S2MNetError(path, f"is not a fingerprint ({place}: {first['msg']})", fix) from None
