"""NIfTI files in and out."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.volumes.volume import Volume, check_finite, check_size, choose_axes

SUFFIXES = (".nii", ".nii.gz")
_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}


def is_nifti_name(path: Path) -> bool:
    """Whether the name ends in .nii or .nii.gz, in any case.

    Example:
        >>> [is_nifti_name(Path(name)) for name in ("a.nii", "b.NII.GZ", "c.gz", "d.nii.zip")]
        [True, True, False, False]
    """
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path) -> Volume:
    """A NIfTI-1 or -2 volume, grey or RGB24, with the scale of its header applied.

    Raises:
        S2MNetError: the file is damaged, has several volumes, is too large, complex, or holds NaN.
    """
    import nibabel

    try:
        # Not mapped into memory: what is wrong with the file is to show here, and not in the middle of a prediction.
        image: Any = nibabel.load(path, mmap=False)  # type: ignore[attr-defined]
        header, affine, shape = image.header, image.affine, tuple(map(int, image.shape))
    except Exception as error:  # on broken bytes nibabel raises nearly anything
        raise _damaged(path, error) from None
    if not isinstance(header, nibabel.Nifti1Header):  # Nifti2Header is derived from it
        raise S2MNetError(path, f"a {type(image).__name__}", "a NIfTI volume", "Convert it to NIfTI.")
    if len(shape) < 2 or math.prod(shape[3:]) != 1 or 0 in shape:
        found = f"{len(shape)} axes, {' × '.join(map(str, shape))}"
        mend = "Save one volume per file, e.g. by nibabel.four_to_three."
        raise S2MNetError(path, found, "one volume of three axes", mend)
    check_size(path, math.prod(shape))
    try:
        stored = np.asanyarray(image.dataobj)
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(path, error) from None
    grid = (*shape, 1)[:3]
    sizes = _voxel_sizes(header)
    axes = choose_axes(grid, sizes)
    values = _values(path, stored.reshape(grid))
    array = np.ascontiguousarray(values.transpose(*axes, *range(3, values.ndim)))
    check_finite(path, array)
    return Volume(path, array, (sizes[axes[0]], sizes[axes[1]], sizes[axes[2]]), axes, shape, affine, header)


def whole_numbers(volume: Volume) -> np.ndarray:
    """The labels of a mask, int32, in the shape of ``volume.array``.

    Raises:
        S2MNetError: the volume has colours, or a value that is no whole number.
    """
    whole = np.rint(volume.array).astype(np.int32)
    if volume.is_rgb or not np.array_equal(whole, volume.array):
        found, mend = "colours" if volume.is_rgb else "fractional values", "Save one label value per voxel."
        raise S2MNetError(volume.path, found, "a mask of whole numbers", f"Check that it is the right file. {mend}")
    return whole


def check_output(path: Path, source: Path) -> None:
    """Raise unless ``path`` is a NIfTI name, and another file than ``source``."""
    _check_name(path)
    if path.exists() and source.exists() and path.samefile(source):
        raise S2MNetError(path, "the input", "another file for the output", "Change the name.")


def write_nifti_mask(mask: np.ndarray, like: Volume, path: str | Path) -> None:
    """Write a mask in the grid of a volume: its shape, affine and axis order. The file appears whole or not at all.

    The header is that of the volume, so that both its transforms (qform and sform) stay; its extensions are left out.
    From DICOM both are set to the scanner's coordinates; where those are unknown, only the voxel sizes are set.

    Args:
        mask: integers or booleans (n, H, W) in 0..65535, stored as uint8, or as uint16 if one is above 255.
        like: the volume it is a mask of.
        path: a file .nii or .nii.gz; one that exists is replaced.

    Raises:
        S2MNetError: the name, shape, type or range is wrong, or the file cannot be written.

    Example:
        >>> import tempfile, nibabel
        >>> folder = Path(tempfile.mkdtemp())
        >>> image = nibabel.Nifti1Image(np.ones((5, 4, 2), np.int16), np.diag([1.0, 1.0, 9.0, 1.0]))
        >>> nibabel.save(image, folder / "a.nii")
        >>> volume = read_nifti(folder / "a.nii")
        >>> write_nifti_mask(volume.array > 0, volume, folder / "mask.nii.gz")
        >>> mask = nibabel.load(folder / "mask.nii.gz")
        >>> mask.shape, mask.get_data_dtype(), mask.affine.diagonal().tolist()
        ((5, 4, 2), dtype('uint8'), [1.0, 1.0, 9.0, 1.0])
    """
    path, mask = Path(path), np.asarray(mask)
    _check_name(path)
    if mask.shape != like.array.shape[:3] or mask.dtype.kind not in "bui":
        found = f"an array of shape {mask.shape} and type {mask.dtype}"
        expected = f"integers of shape {like.array.shape[:3]}, as {like.path.name} has"
        raise S2MNetError(path, found, expected, "Pass one label value per voxel.")
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > 65535:
        raise S2MNetError(path, f"values {low} to {high}", "values 0 to 65535", "Choose smaller label values.")
    mask = mask.astype(np.uint8 if high <= 255 else np.uint16)
    stored = mask.transpose(*np.argsort(like.axes)).reshape(like.shape)
    content = _image(stored, like).to_bytes()
    if path.name.lower().endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)  # no time: equal masks are equal files
    write_atomically(path, content)


def _check_name(path: Path) -> None:
    if not is_nifti_name(path):
        raise S2MNetError(path, f"the name {path.name!r}", "a name that ends in .nii or .nii.gz", "Change the name.")


def _image(stored: np.ndarray, like: Volume) -> Any:
    import nibabel

    if like.header is not None:
        header = like.header.copy()
        header.extensions.clear()  # may hold the DICOM header, and with it the patient
        header.set_data_dtype(stored.dtype)
        header.set_intent("label")
        header["cal_min"] = header["cal_max"] = 0  # the display range of the image
        kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
        return kind(stored, like.affine, header)
    image: Any = nibabel.Nifti1Image(stored, like.affine)
    if like.affine is not None:
        image.set_qform(like.affine, "scanner")
        image.set_sform(like.affine, "scanner")
    else:
        sizes = [1.0 if size is None else size for size in like.spacing]
        image.header.set_zooms([sizes[place] for place in np.argsort(like.axes)])
    image.header.set_intent("label")
    image.header.set_xyzt_units("mm")
    return image


def _voxel_sizes(header: Any) -> tuple[float | None, float | None, float | None]:
    """Millimetres along the three axes of the file, from pixdim, as ITK has it."""
    unit = _MM.get(header.get_xyzt_units()[0], 1.0)
    sizes = [float(size) * unit for size in header["pixdim"][1:4]]
    first, second, third = (size if math.isfinite(size) and size > 0 else None for size in sizes)
    return first, second, third


def _values(path: Path, stored: np.ndarray) -> np.ndarray:
    """Integers or float32 in the byte order of the machine; RGB24 as a fourth axis."""
    if stored.dtype.names == ("R", "G", "B"):
        return np.stack([stored[name] for name in "RGB"], axis=-1)
    if stored.dtype.kind in "ui":
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    if stored.dtype.kind == "f":
        return stored.astype(np.float32)
    found = f"voxels of the type {stored.dtype}"
    raise S2MNetError(path, found, "grey intensities or RGB", "Save the magnitude, or one channel, as a volume.")


def _damaged(path: Path, error: Exception) -> S2MNetError:
    reason = " ".join(str(error).split())[:200]
    found = f"a damaged file ({type(error).__name__}: {reason})"
    return S2MNetError(path, found, "a NIfTI volume that can be read", "Export or download it again.")
