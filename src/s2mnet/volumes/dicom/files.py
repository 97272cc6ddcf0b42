"""Which DICOM files make up the one series at a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s2mnet.errors import S2MNetError

SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_EXPECTED = "a DICOM image"


def is_dicom(path: Path) -> bool:
    """Whether the name or the first bytes say that the file is DICOM."""
    return path.suffix.lower() in SUFFIXES or _has_magic(path)


def load_dataset(path: Path, pixels: bool) -> Any:
    """The pydicom data set of a file, with its pixels or only with what comes before them.

    Raises:
        S2MNetError: pydicom is not installed, or the file is damaged.
    """
    try:
        from pydicom import dcmread
    except ImportError:
        mend = "Install it: pip install 's2mnet[dicom]'."
        raise S2MNetError(path, "a DICOM file, but no package pydicom", "pydicom, which reads them", mend) from None
    try:
        return dcmread(path, stop_before_pixels=not pixels)
    except Exception as error:  # on broken bytes pydicom raises nearly anything
        found = f"a damaged file, or no DICOM ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        raise S2MNetError(path, found, _EXPECTED, "Export it again.") from None


def find_series(path: Path) -> list[tuple[Path, Any]]:
    """The files of one series, each with its header, by name.

    Args:
        path: a DICOM image, or a folder with the images of one series, at any depth. Files that are not DICOM,
            hidden ones, a DICOMDIR, and DICOM objects that are no images (reports, plans, segmentations) are passed
            over in a folder.

    Raises:
        S2MNetError: no image; several series, which are named; a file called .dcm that is none; slices of several
            sizes; a segmentation or a mosaic.
    """
    if path.is_file():
        header = load_dataset(path, pixels=False)
        if not _is_image(header):
            found = f"a DICOM object without pixels (modality {header.get('Modality') or 'unknown'})"
            raise S2MNetError(path, found, _EXPECTED, "Name the file of an image.")
        found_files = [(path, header)]
    else:
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")]
        candidates = [file for file in files if file.name != "DICOMDIR" and is_dicom(file)]
        headers = [(file, load_dataset(file, pixels=False)) for file in candidates]
        found_files = [(file, header) for file, header in headers if _is_image(header) and not _is_mask(header)]
        if not found_files:
            found = f"{len(files)} files, none of them a DICOM image"
            raise S2MNetError(path, found, "the files of one DICOM series", "Name the folder of one series.")
        _check_one_series(path, found_files)
    for file, header in found_files:
        _check_kind(file, header, len(found_files))
    _check_one_size(path, found_files)
    return found_files


def _has_magic(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _is_image(header: Any) -> bool:
    return bool(header.get("Rows") and header.get("Columns"))


def _is_mask(header: Any) -> bool:
    return bool(header.get("Modality") == "SEG")


def _check_one_series(path: Path, files: list[tuple[Path, Any]]) -> None:
    series: dict[str, list[tuple[Path, Any]]] = {}
    for file, header in files:
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((file, header))
    if len(series) == 1:
        return
    names = []
    for members in list(series.values())[:10]:
        file, header = members[0]
        title = header.get("SeriesDescription") or header.get("Modality") or "no description"
        names.append(f"series {header.get('SeriesNumber', '?')} “{title}” ({len(members)} files, first {file.name})")
    names += ["…"] if len(series) > 10 else []
    mend = "Move each series into a folder of its own."
    raise S2MNetError(path, f"{len(series)} DICOM series: {'; '.join(names)}", "one series", mend)


def _check_kind(path: Path, header: Any, files: int) -> None:
    if _is_mask(header):
        raise S2MNetError(path, "a DICOM segmentation", _EXPECTED, "Name the image it was drawn on.")
    if "MOSAIC" in (header.get("ImageType") or ()):
        mend = "Convert it to NIfTI, e.g. with dcm2niix."
        raise S2MNetError(path, "a mosaic of many slices in one image", "one slice per image", mend)
    if files > 1 and int(header.get("NumberOfFrames") or 1) > 1:
        found = f"a file of {header.NumberOfFrames} frames among {files} files of its series"
        raise S2MNetError(path, found, "one file of many frames, or many of one", "Name one of the files.")


def _check_one_size(path: Path, files: list[tuple[Path, Any]]) -> None:
    sizes: dict[tuple[int, int, int], Path] = {}
    for file, header in files:
        sizes.setdefault((int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1)), file)
    if len(sizes) > 1:
        shown = ", ".join(f"{rows} × {columns} × {n} in {file.name}" for (rows, columns, n), file in sizes.items())
        mend = "Take the localizers or other views out of the folder."
        raise S2MNetError(path, f"slices of several sizes ({shown})", "one size (rows × columns × channels)", mend)
