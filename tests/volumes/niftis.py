"""NIfTI files made for tests."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from scipy.spatial.transform import Rotation


def affine_of(spacing: tuple[float, ...], angle: float = 0.0, origin: tuple[float, ...] = (-90, 20, 7)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [angle, -2 * angle, 3 * angle]).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine


def write(path: Path, stored: np.ndarray, affine: np.ndarray | None, kind: type = nibabel.Nifti1Image) -> Path:
    nibabel.save(kind(stored, affine), path)
    return path


def grid(*shape: int, dtype: type = np.int16) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def shown(image: nibabel.Nifti1Image, along: int) -> np.ndarray:
    """Slices along an axis of the body (0 left-right, 1 back-front, 2 feet-head) as radiologists see them.

    By way of nibabel's RAS+ order: left at the right; the front at the top of axial slices, else the head.
    """
    canonical = nibabel.as_closest_canonical(image)
    ras = np.asarray(canonical.dataobj).reshape(canonical.shape[:3])
    if along == 2:
        return ras[::-1, ::-1].transpose(2, 1, 0)
    return ras[::-1, ::-1, ::-1].transpose(1, 2, 0) if along == 1 else ras[:, ::-1, ::-1].transpose(0, 2, 1)
