"""DRIVE as downloaded → the folder form that ``s2mnet train`` reads, with 255, ignore, outside of the field of view.

    python experiments/drive_to_folder.py SOURCE OUT

SOURCE holds ``training`` and ``test`` with ``images``, ``1st_manual`` and ``mask``. Official split; training images
37–40 are the validation. Masks hold 0 background, 1 vessel (first observer), 255 outside of the field of view.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from s2mnet.data import read_image, read_mask
from s2mnet.files import write_png

VALIDATION = {"37", "38", "39", "40"}


def convert(source: Path, out: Path) -> None:
    """Write ``out/{train,val,test}/{images,masks}/NN.png``."""
    for part in ("training", "test"):
        for image in sorted((source / part / "images").glob("*.tif")):
            number = image.name[:2]
            split = "test" if part == "test" else "val" if number in VALIDATION else "train"
            vessel, field = (
                read_mask(next((source / part / kind).glob(f"{number}_*"))) for kind in ("1st_manual", "mask")
            )
            write_png(out / split / "images" / f"{number}.png", read_image(image))
            mask = np.where(field > 0, vessel > 0, 255).astype(np.uint8)
            write_png(out / split / "masks" / f"{number}.png", mask)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
