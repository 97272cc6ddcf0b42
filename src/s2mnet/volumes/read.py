"""One entry for all volumes: what the path is decides the reader."""

from __future__ import annotations

from pathlib import Path

from s2mnet.data.images import is_image_file
from s2mnet.errors import S2MNetError
from s2mnet.volumes.dicom import dicom_files, is_dicom, read_dicom, visible_files
from s2mnet.volumes.nifti import is_nifti_name, is_own_mask, read_nifti
from s2mnet.volumes.volume import Volume

_FOREIGN = {
    **dict.fromkeys((".nrrd", ".nhdr", ".mha", ".mhd"), "SimpleITK.WriteImage(SimpleITK.ReadImage({!r}), {!r})"),
    **dict.fromkeys((".mgz", ".mgh", ".hdr", ".img", ".mnc"), "nibabel.save(nibabel.load({!r}), {!r})"),
}
"""Volumes of other formats, by suffix, and how to convert one."""


def is_volume(path: str | Path) -> bool:
    """Whether a path is taken as a volume: a file of its formats, or a folder with DICOM files at any depth.

    Hidden files, and files that are neither DICOM nor another volume nor an image, do not count.

    Raises:
        S2MNetError: a folder mixes DICOM files, other volumes and images, or holds only other volumes.

    Example:
        >>> is_volume("heart.nii.gz"), is_volume("polyp.png")
        (True, False)
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _holds_series(path)
        return _is_volume_file(path) or (path.is_file() and is_dicom(path))
    except OSError:  # the reader of images reports it
        return False


def _holds_series(folder: Path) -> bool:
    files = visible_files(folder)
    images = [file for file in files if is_image_file(file)]
    volumes = [file for file in files if _is_volume_file(file)]
    series = dicom_files([file for file in files if not is_image_file(file) and not _is_volume_file(file)])
    if not series:  # images are listed without subfolders, so only what lies beside them matters
        images, volumes = ([file for file in kind if file.parent == folder] for kind in (images, volumes))
    volumes = [file for file in volumes if not (is_nifti_name(file) and is_own_mask(file))]
    kinds = {"DICOM": series, "image": images, "volume": volumes}
    parts = [f"{len(kind)} {name} files (first {kind[0].relative_to(folder)})" for name, kind in kinds.items() if kind]
    if len(parts) > 1:
        raise S2MNetError(folder, f"mixes {' and '.join(parts)}", "Give the file or folder of one of them.")
    if volumes:
        problem = f"holds {parts[0]}, and volumes in NIfTI are predicted one at a time"
        raise S2MNetError(folder, problem, "Give one file after the other.")
    return bool(series)


def _is_volume_file(path: Path) -> bool:
    return is_nifti_name(path) or path.suffix.lower() in _FOREIGN


def read_volume(path: str | Path, orientation: str = "") -> Volume:
    """Read a volume as a stack of slices in its original intensities.

    The plane and the orientation of the slices depend on the position of voxels in the body and not on their order in
    the file, see :func:`s2mnet.volumes.volume.choose_axes`. NIfTI: the scale of the header is applied. DICOM: rescaled
    to the units of the modality (Hounsfield in CT); MONOCHROME1 inverted so that high is bright; colour as RGB.

    Args:
        path: a file .nii or .nii.gz; a DICOM file with one or many frames; or a folder with one DICOM series.
        orientation: the directions in which slices, rows and columns count up, such as "SPL", to superior, posterior
            and left. Default: chosen by the voxel sizes.

    Returns:
        The volume.

    Raises:
        S2MNetError: the path is none of these; the file is damaged, 4-D, too large (above 10⁹ values) or holds NaN;
            the folder holds several series, or a series with missing slices; pydicom is needed and not installed.

    Example:
        >>> import tempfile, nibabel, numpy as np
        >>> path = Path(tempfile.mkdtemp(), "heart.nii.gz")
        >>> grid = np.zeros((9, 40, 32), np.int16)
        >>> nibabel.save(nibabel.Nifti1Image(grid, np.diag([8.0, 1.5, 1.5, 1.0])), path)
        >>> volume = read_volume(path)
        >>> volume.array.shape, volume.spacing, volume.axes
        ((9, 32, 40), (8.0, 1.5, 1.5), (0, 2, 1))
    """
    path = Path(path)
    kinds = "a NIfTI file (.nii, .nii.gz), a DICOM file, or a folder that holds one DICOM series"
    if path.is_dir():
        return read_dicom(path, orientation)
    if not path.is_file():
        raise S2MNetError(path, "does not exist: no such file or folder", f"Give {kinds}.")
    try:
        if path.stat().st_size == 0:
            raise S2MNetError(path, "is an empty file (0 bytes)", "Export it again.")
        if is_nifti_name(path):
            return read_nifti(path, orientation)
        if is_dicom(path):
            return read_dicom(path, orientation)
    except PermissionError:
        raise S2MNetError(path, "may not be read", "Change its permissions.") from None
    convert = _FOREIGN.get(path.suffix.lower(), "")
    if convert:
        code = convert.format(path.name, f"{path.stem}.nii.gz")
        fix = f"Convert it to NIfTI, e.g. in Python with {code}."
        raise S2MNetError(path, f"is a volume in a format that is not read ({path.suffix})", fix)
    raise S2MNetError(path, "is a file of another kind", f"Give {kinds}.")
