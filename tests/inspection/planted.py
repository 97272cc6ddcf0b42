"""Generated data folders without a fault, in which a test plants one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

COUNTS = {"train": 5, "val": 2, "test": 2}


def texture(seed: int, side: int = 64) -> np.ndarray:
    """A smooth random colour image, unlike that of any other seed."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side, 3)), (side / 20, side / 20, 0))
    return np.clip(128 + 40 * noise / noise.std(), 41, 255).astype(np.uint8)


def blob(seed: int, side: int = 64) -> np.ndarray:
    """A 0/255 mask with an ellipse, another for every seed."""
    y, x = np.mgrid[:side, :side] / side
    return np.where(((y - 0.45) / 0.2) ** 2 + ((x - 0.3 - 0.03 * seed) / 0.15) ** 2 < 1, 255, 0).astype(np.uint8)


def cases(splits: tuple[str, ...] = tuple(COUNTS)) -> list[tuple[int, str]]:
    """A number of its own and the name of each pair, train0 to test1."""
    return list(enumerate(f"{split}{number}" for split in splits for number in range(COUNTS[split])))


def put(root: Path, name: str, image: np.ndarray | None = None, mask: np.ndarray | None = None) -> None:
    split = name.rstrip("0123456789")
    for kind, array in (("images", image), ("masks", mask)):
        (root / split / kind).mkdir(parents=True, exist_ok=True)
        if array is not None:
            Image.fromarray(array).save(root / split / kind / f"{name}.png")


def clean_folder(root: Path, splits: tuple[str, ...] = tuple(COUNTS)) -> Path:
    for seed, name in cases(splits):
        put(root, name, texture(seed), blob(seed))
    return root
