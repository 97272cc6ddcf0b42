"""NIfTI files in and out."""

from __future__ import annotations

import gzip
import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.guard import guarded
from s2mnet.volumes.volume import Volume, check_mask, check_size, is_same_file, is_sheared, orient

SUFFIXES = (".nii", ".nii.gz")
_OWN = b"s2mnet mask of "  # in the header of a mask, before a digest of the voxels it is of
_CONTRADICTION = 0.01  # relative difference of voxel sizes by pixdim and by the affine
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
    return _description(path).startswith(_OWN)


def check_replaceable(path: Path, volume: Volume) -> None:
    """Raise if a file exists that is not an earlier mask of the same voxels: an expert's, or that of another volume."""
    if path.exists() and _description(path) != _describe(volume):
        problem = f"already exists, and is not an earlier mask of {volume.path}"
        raise S2MNetError(path, problem, "Choose another folder with -o, or remove the file.")


def _describe(volume: Volume) -> bytes:
    return _OWN + hashlib.sha1(volume.array.data, usedforsecurity=False).hexdigest()[:16].encode()


def _description(path: Path) -> bytes:
    try:
        return bytes(_load(path).header["descrip"].item())
    except Exception:  # no NIfTI, or a damaged one: the reader reports it
        return b""


def read_nifti(path: Path, orientation: str = "") -> Volume:
    """Read a NIfTI-1 or -2 volume, grey or RGB, with the scale of its header applied; compressed or not.

    Voxel sizes and position are those of the affine (sform or qform), or of pixdim in a file without either.

    Raises:
        S2MNetError: the file is damaged, has several volumes, is too large, complex, or holds NaN; its affine and its
            voxel sizes, or its two affines, contradict each other.
    """
    with guarded(path, "is damaged", "Export or download it again."):
        image, shape, colour = _voxels(path)
        if not colour and (len(shape) < 2 or math.prod(shape[3:]) != 1 or 0 in shape):
            problem = f"has {len(shape)} axes, {' × '.join(map(str, shape))}; a volume has three"
            first = "[..., 0]" if len(shape) == 4 else f"[:, :, :{', 0' * (len(shape) - 3)}]"
            fix = f"Save one volume per file, e.g. nibabel.Nifti1Image(np.asarray(image.dataobj){first}, image.affine)."
            raise S2MNetError(path, problem, fix)
        grid = np.asanyarray(image.dataobj).reshape(*(*shape[:3], 1)[:3], *(3,) * colour)
        values = grid if colour else _values(path, grid)
        return _placed(path, image, values, orientation, shape[:3] if colour else shape)


def read_nifti_channels(path: Path, orientation: str = "") -> list[Volume]:
    """Read the channels of a NIfTI file: the volumes along its fourth axis, or the one volume of a file with three.

    Raises:
        S2MNetError: as :func:`read_nifti`.
    """
    with guarded(path, "is damaged", "Export or download it again."):
        image, shape, _ = _voxels(path)
        if len(shape) != 4 or 0 in shape:
            return [read_nifti(path, orientation)]
        stored = np.asanyarray(image.dataobj)
        channels = (_values(path, stored[..., number]) for number in range(shape[3]))
        return [_placed(path, image, values, orientation, shape[:3]) for values in channels]


def read_nifti_grid(path: Path, orientation: str = "") -> Volume:
    """Read the grid of a NIfTI file without its values: all are False. A fourth axis is left out.

    Raises:
        S2MNetError: as :func:`read_nifti`.
    """
    with guarded(path, "is damaged", "Export or download it again."):
        image, shape, _ = _voxels(path)
        shape = (*shape, 1)[:3]
        return _placed(path, image, np.zeros(shape, bool), orientation, shape)


def _voxels(path: Path) -> tuple[Any, tuple[int, ...], bool]:
    """The image whose values are not read yet, its shape, and whether it is in colour."""
    import nibabel

    image = _load(path)
    header = image.header
    if not isinstance(header, nibabel.Nifti1Header) or isinstance(image, nibabel.Cifti2Image):
        cifti = isinstance(image, nibabel.Cifti2Image)
        problem = "CIFTI, values on a surface" if cifti else f"a {type(image).__name__}"
        raise S2MNetError(path, f"is {problem}, and not a volume", "Give a NIfTI volume.")
    shape = tuple(map(int, image.shape))
    check_size(path, math.prod(shape))
    return image, shape, len(shape) == 5 and shape[3:] == (1, 3) and header.get_data_dtype() == np.uint8


def _placed(path: Path, image: Any, values: np.ndarray, orientation: str, shape: tuple[int, ...]) -> Volume:
    affine, sizes = _geometry(path, image.header, image.affine)
    coded = affine if _has_affine(image.header) else None
    volume = orient(path, values, sizes, coded, orientation, header=image.header, shape=shape)
    return replace(volume, affine=affine)


def _load(path: Path) -> Any:
    """The image, by its content where the name says the wrong thing of its compression."""
    import nibabel

    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if zipped == path.name.lower().endswith(".gz"):
        # Not mapped into memory: a fault in the file must show here, not in the middle of a prediction.
        return nibabel.load(path, mmap=False)  # type: ignore[attr-defined]
    with gzip.open(path) if zipped else path.open("rb") as stream:
        content = stream.read()
    kind = nibabel.Nifti2Image if 540 in (int.from_bytes(content[:4], order) for order in ("little", "big")) else None
    return (kind or nibabel.Nifti1Image).from_bytes(content)


def _has_affine(header: Any) -> bool:
    return bool(header["sform_code"] > 0 or header["qform_code"] > 0)


def _geometry(path: Path, header: Any, affine: np.ndarray) -> tuple[np.ndarray | None, list[float | None]]:
    """The affine and the millimetres along the three axes of the file, which must agree."""
    from nibabel.affines import voxel_sizes
    from nibabel.orientations import aff2axcodes

    unit = _MM.get(header.get_xyzt_units()[0], 1.0)
    pixdim = [float(size) * unit for size in header["pixdim"][1:4]]
    stated = [size if math.isfinite(size) and size > 0 else None for size in pixdim]
    finite = bool(np.isfinite(affine).all())
    if not _has_affine(header):
        return (affine if finite else None), stated
    if not finite:
        raise S2MNetError(path, "has an affine (sform or qform) that is not finite", "Correct its header.")
    if header["sform_code"] > 0 and header["qform_code"] > 0:
        ways = ["".join(map(str, aff2axcodes(each))) for each in (header.get_sform(), header.get_qform())]
        if ways[0] != ways[1]:
            problem = f"has axes that run to {ways[0]} by its sform and to {ways[1]} by its qform"
            raise S2MNetError(path, problem, "Correct the header, so that both say the same.")
    sizes = [float(size) * unit for size in voxel_sizes(affine)]
    if any(
        own is not None and abs(own - size) > _CONTRADICTION * size for own, size in zip(stated, sizes, strict=True)
    ):
        own, other = (" × ".join(f"{size or 0:.4g}" for size in each) for each in (stated, sizes))
        problem = f"has voxel sizes (pixdim) of {own} mm, and by its affine (sform or qform) of {other} mm"
        raise S2MNetError(path, problem, "Correct the header, so that both say the same.")
    return affine, [size or None for size in sizes]


def orientation_of(volume: Volume) -> str:
    """The directions in which the third, second and first axis of the file count up, as in "SPL"; "" if unknown."""
    from nibabel.orientations import aff2axcodes

    if volume.affine is None or not _has_affine(volume.header):
        return ""
    return "".join(str(code) for code in reversed(aff2axcodes(volume.affine)))


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
    stored = like.in_file_order(mask).reshape(like.shape)
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
            image.set_sform(like.affine, "scanner")
            # A qform cannot hold the shear of a tilted gantry.
            image.set_qform(like.affine, "unknown" if is_sheared(like.affine) else "scanner")
        else:
            sizes = [1.0 if size is None else size for size in like.spacing]
            image.header.set_zooms([sizes[place] for place in np.argsort(like.axes)])
        image.header.set_xyzt_units("mm")
    image.header.set_intent("label")
    image.header["descrip"] = _describe(like)
    return image


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
