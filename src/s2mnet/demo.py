"""The demo: from MRI volumes that an installed package ships to a report."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from s2mnet.console import Console
from s2mnet.data import Dataset
from s2mnet.errors import S2MNetError
from s2mnet.files import partial_folder, replace_folder, write_png
from s2mnet.workflow import run_training

FILES = {tissue: f"mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz" for tissue in ("t1", "gm", "wm")}
# Axial slices of the brain, by index along the third axis. The test block is contiguous, with a gap of four slices to
# the others, because neighbouring slices look alike.
BLOCKS = {"train": [*range(40, 76), *range(104, 134)], "val": [*range(80, 84)], "test": [*range(88, 100)]}

DATASET = Dataset(
    name="MNI152 brain",
    modality="T1-weighted MRI",
    classes={0: "background", 1: "grey matter", 2: "white matter"},
    split="a contiguous block of axial slices held out, with a gap of four slices on either side",
    source="the MNI152 (ICBM 2009a nonlinear symmetric) template in the package nilearn",
)


def run_demo(output: Path, minutes: float = 6.0) -> Path:
    """Write the slices to ``output/data``, train on them into ``output/run`` and return the path of the report.

    Raises:
        S2MNetError: nilearn, whose wheel contains the volumes, is not installed, or ``output`` already holds a demo.
    """
    data = output / "data"
    if not data.exists():
        write_slices(data)
    command = f"s2mnet demo -o {output} --minutes {minutes:g}"
    # Native resolution: the cortex is 2–4 mm thick, which is 2–4 pixels.
    return run_training(
        data, output / "run", command=command, console=Console(), minutes=minutes, extent="patches", size=128, seed=42
    )


def write_slices(data: Path) -> None:
    """Write axial slices of the MNI152 T1 image as PNG, with masks: 0 other, 1 grey matter, 2 white matter.

    A voxel belongs to the more probable of the two tissues if its probability is at least 50 %.
    """
    volumes = {tissue: _volume(file) for tissue, file in FILES.items()}
    grey, white = volumes["gm"] / 255, volumes["wm"] / 255
    mask = np.where(np.maximum(grey, white) < 0.5, 0, np.where(grey >= white, 1, 2)).astype(np.uint8)
    with partial_folder(data) as folder:
        for split, slices in BLOCKS.items():
            for kind, volume in (("images", volumes["t1"]), ("masks", mask)):
                for index in slices:
                    plane = np.rot90(volume[:, :, index]).astype(np.uint8)
                    write_png(folder / split / kind / f"axial_{index:03d}.png", plane)
        DATASET.save(folder)
        replace_folder(folder, data)


def _volume(file: str) -> np.ndarray:
    package = find_spec("nilearn")
    if package is None or package.origin is None or find_spec("nibabel") is None:
        raise S2MNetError("The package nilearn or nibabel", "is not installed", "Run pip install 's2mnet[demo]'.")
    import nibabel

    path = Path(package.origin).parent / "datasets" / "data" / file
    if not path.is_file():
        raise S2MNetError(path, "does not exist; nilearn 0.14 ships it", "Install nilearn 0.14.")
    return np.asarray(nibabel.Nifti1Image.from_filename(path).dataobj)
