"""``dataset.yaml``: what the makers of a data folder know and its files do not show."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from s2mnet.data.labels import LabelMap
from s2mnet.files import find_file, write_atomically
from s2mnet.yamlfile import read_yaml

FILE = "dataset.yaml"


class Dataset(BaseModel):
    """The content of ``dataset.yaml``, an optional file of a data folder. Every field is optional.

    Attributes:
        name: of the data set; the title of the report.
        modality: such as "fundus photography".
        classes: name of each mask value, background first: ``{0: background, 1: grey matter}``. Without them the
            values are inferred; with them any other value is an error.
        ignore: the mask value of pixels without a truth, such as those outside a field of view.
        colours: colour of each class in pictures, "#rrggbb", by mask value.
        regions: overlapping structures as unions of classes, by name: ``{whole tumour: [1, 2, 3]}``; with them regions
            are predicted and measured rather than classes.
        channels: names of the channels of an image, if they are not grey or red, green and blue.
        neighbours: slices of the volume on either side that each image holds besides its own. Channels are then the
            2 · neighbours + 1 slices of the first sequence, in their order, then those of the next.
        orientation: of slices of volumes, the directions in which slices, rows and columns count up, such as "SPL": to
            superior, posterior and left. Volumes are predicted in it.
        field_of_view, split, source, citation, terms, licence: one sentence each.

    Example:
        >>> drive = Dataset(name="DRIVE", classes={0: "background", 1: "vessel"}, ignore=255)
        >>> drive.label_map().describe()
        'two labels: 0 background, 1 vessel; 255 is ignored (no truth there)'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    modality: str = ""
    classes: dict[int, str] = {}
    ignore: int | None = Field(None, ge=0, le=65535)
    colours: dict[int, str] = {}
    regions: dict[str, list[int]] = {}
    channels: list[str] = []
    neighbours: int = Field(0, ge=0)
    orientation: str = ""
    field_of_view: str = ""
    split: str = ""
    source: str = ""
    citation: str = ""
    terms: str = ""
    licence: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Dataset:
        if self.classes:
            self.label_map()  # checks the values
        if len(set(self.classes.values())) < len(self.classes):
            raise ValueError("two classes have the same name")
        if self.regions and not self.classes:
            raise ValueError("regions need classes")
        if self.neighbours and (not self.channels or len(self.channels) % (2 * self.neighbours + 1)):
            raise ValueError(f"{self.neighbours} neighbours make {2 * self.neighbours + 1} channels of each sequence")
        if self.orientation and {*map(_line, self.orientation)} != {0, 1, 2}:
            raise ValueError("orientation has three letters, one of L and R, one of A and P, one of S and I")
        if not set(self.colours) <= set(self.classes):
            raise ValueError("colours must be given by the values of classes")
        return self

    def label_map(self) -> LabelMap | None:
        """The classes as a label map; None without classes."""
        if not self.classes:
            return None
        return LabelMap(
            kind="classes",
            values=list(self.classes),
            ignore_value=self.ignore,
            names=list(self.classes.values()),
            regions=self.regions,
        )

    def save(self, folder: Path) -> None:
        """Write ``folder/dataset.yaml`` atomically, without the fields that have their default."""
        fields = self.model_dump(exclude_defaults=True)
        write_atomically(folder / FILE, yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100).encode())

    @classmethod
    def load(cls, folder: Path) -> Dataset:
        """Read ``folder/dataset.yaml``, or ``dataset.yml``; without one, every field has its default.

        Raises:
            S2MNetError: the file is not YAML, a field is wrong, or there are two files.
        """
        path = find_file(folder, FILE, "dataset.yml")
        if path is None:
            return cls()
        return read_yaml(path, cls, "Correct it, or remove the file to have the labels inferred.", empty={})


def _line(letter: str) -> int:
    """Which of the three lines of the body a direction is on; −1 if it is none."""
    return "LRAPSI".find(letter) // 2
