"""Sources for the tests of importing, written by other libraries, and a reader of what was imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import yaml
from PIL import Image

HEIGHT, WIDTH = 40, 56


def noise(number: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, shape or (HEIGHT, WIDTH, 3)).astype(np.uint8)


def blobs(number: int, values: int = 2, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Labels 0 … values: smooth patches with concave outlines, several for each label; they differ by number."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(number).normal(size=(height, width)), 4)
    mask = np.digitize(field, np.quantile(field, np.linspace(0.6, 1, values + 1)[:-1])).astype(np.uint8)
    return mask


def save(file: Path, array: np.ndarray, **options: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file, **options)
    return file


def save_nifti(file: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 4.0, 1.0]) if affine is None else affine), file)
    return file


def write_json(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image)


def imported(folder: Path, part: str = "") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Image and mask of each stem in a split of the data folder, by Pillow."""
    folder = folder / part
    masks = {file.stem: file for file in (folder / "masks").iterdir()}
    images = {file.stem: file for file in (folder / "images").iterdir()}
    assert masks.keys() == images.keys()
    return {stem: (_image(images[stem]), pixels(masks[stem])) for stem in sorted(masks)}


def _image(file: Path) -> np.ndarray:
    import tifffile

    return tifffile.imread(file) if file.suffix == ".tif" else pixels(file)


def described(folder: Path) -> dict[str, Any]:
    """The content of ``dataset.yaml``."""
    return yaml.safe_load((folder / "dataset.yaml").read_text(encoding="utf-8"))
