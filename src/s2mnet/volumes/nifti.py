"""NIfTI files in and out."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.volumes.guard import guarded
from s2mnet.volumes.volume import Volume, check_finite, check_mask, check_size, choose_axes, is_same_file

SUFFIXES = (".nii", ".nii.gz")
_DESCRIPTION = b"s2mnet mask"
_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}


def is_nifti_name(path: Path) -> bool:
    """Whether the name ends in .nii or .nii.gz, in any case.

    Example:
        >>> [is_nifti_name(Path(name)) for name in ("a.nii", "b.NII.GZ", "c.gz", "d.nii.zip")]
        [True, True, False, False]
    """
    return path.name.lower().endswith(SUFFIXES)


def is_own_mask(path: Path) -> bool:
    """Whether a NIfTI file is a mask that this module wrote, by the description in its header."""
    import nibabel

    try:
        header = nibabel.load(path).header  # type: ignore[attr-defined]
        return bytes(header["descrip"].item()) == _DESCRIPTION
    except Exception:  # no NIfTI, or a damaged one: the reader reports it
        return False


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI-1 or -2 volume, grey or RGB24, with the scale of its header applied.

    Raises:
        S2MNetError: the file is damaged, has several volumes, is too large, complex, or holds NaN.
    """
    import nibabel

    with guarded(path, "is damaged", "Export or download it again."):
        # Not mapped into memory: a fault in the file must show here, not in the middle of a prediction.
        image: Any = nibabel.load(path, mmap=False)  # type: ignore[attr-defined]
        header, affine, shape = image.header, image.affine, tuple(map(int, image.shape))
        if not isinstance(header, nibabel.Nifti1Header):  # the base class of Nifti2Header
            raise S2MNetError(path, f"is a {type(image).__name__}, not a NIfTI volume", "Convert it to NIfTI.")
        if len(shape) < 2 or math.prod(shape[3:]) != 1 or 0 in shape:
            problem = f"has {len(shape)} axes, {' × '.join(map(str, shape))}; a volume has three"
            raise S2MNetError(path, problem, "Save one volume per file, e.g. by nibabel.four_to_three.")
        check_size(path, math.prod(shape))
        stored = np.asanyarray(image.dataobj)
    grid = (*shape, 1)[:3]
    sizes = _voxel_sizes(header)
    axes = choose_axes(grid, sizes)
    values = _values(path, stored.reshape(grid))
    array = np.ascontiguousarray(values.transpose(*axes, *range(3, values.ndim)))
    check_finite(path, array)
    return Volume(path, array, (sizes[axes[0]], sizes[axes[1]], sizes[axes[2]]), axes, shape, affine, header)


def whole_numbers(volume: Volume) -> np.ndarray:
    """Return the labels of a mask, int32, in the shape of ``volume.array``.

    Raises:
        S2MNetError: the volume is in colour, or a value is not a whole number.
    """
    whole = np.rint(volume.array).astype(np.int32)
    if volume.is_rgb or not np.array_equal(whole, volume.array):
        problem = f"has {'colours' if volume.is_rgb else 'fractional values'}; a mask has whole numbers"
        raise S2MNetError(volume.path, problem, "Check that it is the right file. Save one label value per voxel.")
    return whole


def check_output(path: Path, source: Path) -> None:
    """Raise unless ``path`` has a NIfTI name and is another file than ``source``."""
    if not is_nifti_name(path):
        raise S2MNetError(path, "is no name for a NIfTI file", "Choose a name that ends in .nii or .nii.gz.")
    if is_same_file(path, source):
        raise S2MNetError(path, "is the input", "Choose another name for the output.")


def write_nifti_mask(mask: np.ndarray, like: Volume, path: str | Path) -> None:
    """Write a mask in the grid of a volume: its shape, affine and axis order. The write is atomic.

    The header is a copy of the volume's, so that both its transforms (qform and sform) stay; extensions are left out.
    For DICOM both transforms are set to scanner coordinates; where those are unknown, only voxel sizes are set.

    Args:
        mask: integers or booleans (n, H, W) in 0..65535, stored as uint8, or as uint16 if one is above 255.
        like: the volume that the mask belongs to.
        path: a file .nii or .nii.gz. An existing file is replaced.

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
    check_output(path, like.path)
    check_mask(path, mask, like, highest=65535)
    mask = mask.astype(np.uint8 if mask.max() <= 255 else np.uint16)
    stored = mask.transpose(*np.argsort(like.axes)).reshape(like.shape)
    content = _image(stored, like).to_bytes()
    if path.name.lower().endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)  # no time stamp: equal masks give equal files
    write_atomically(path, content)


def _image(stored: np.ndarray, like: Volume) -> Any:
    import nibabel

    kind: Any = nibabel.Nifti1Image
    if like.header is not None:
        header = like.header.copy()
        header.extensions.clear()  # may hold the DICOM header, and with it the patient
        header.set_data_dtype(stored.dtype)
        header["cal_min"] = header["cal_max"] = 0  # the display range of the image
        kind = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else kind
        image = kind(stored, like.affine, header)
    else:
        image = kind(stored, like.affine)
        if like.affine is not None:
            image.set_qform(like.affine, "scanner")
            image.set_sform(like.affine, "scanner")
        else:
            sizes = [1.0 if size is None else size for size in like.spacing]
            image.header.set_zooms([sizes[place] for place in np.argsort(like.axes)])
        image.header.set_xyzt_units("mm")
    image.header.set_intent("label")
    image.header["descrip"] = _DESCRIPTION
    return image


def _voxel_sizes(header: Any) -> tuple[float | None, float | None, float | None]:
    """Millimetres along the three axes of the file, from pixdim, as in ITK."""
    unit = _MM.get(header.get_xyzt_units()[0], 1.0)
    sizes = [float(size) * unit for size in header["pixdim"][1:4]]
    first, second, third = (size if math.isfinite(size) and size > 0 else None for size in sizes)
    return first, second, third


def _values(path: Path, stored: np.ndarray) -> np.ndarray:
    """Integers or float32 in native byte order; RGB24 as a fourth axis."""
    if stored.dtype.names == ("R", "G", "B"):
        return np.stack([stored[name] for name in "RGB"], axis=-1)
    if stored.dtype.kind in "ui":
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    if stored.dtype.kind == "f":
        return stored.astype(np.float32)
    problem = f"has voxels of type {stored.dtype}; grey and RGB are read"
    raise S2MNetError(path, problem, "Save the magnitude, or one channel, as a volume.")
