"""Which DICOM files make up the one series at a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded
from s2mnet.volumes.dicom.frames import text, whole

SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_DIRECTORY = "DICOMDIR"
_NO_OTHER_VIEWS = "Remove the localizers or other views from the folder."

Files = list[tuple[Path, Any]]
"""DICOM files, each with its header."""


def is_dicom(path: Path) -> bool:
    """Whether the name or the first bytes mark the file as DICOM, with or without a preamble."""
    return path.suffix.lower() in SUFFIXES or _start(path)[128:] == b"DICM" or _is_bare(path)


def visible_files(folder: Path) -> list[Path]:
    """List all files below a folder, sorted, without hidden ones and those of hidden folders."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(part.startswith((".", "__MACOSX")) for part in file.relative_to(folder).parts)
    ]


def dicom_files(files: list[Path]) -> list[Path]:
    """The DICOM files among others, without a DICOMDIR."""
    return [file for file in files if file.name != _DIRECTORY and is_dicom(file)]


def load_dataset(path: Path, pixels: bool) -> Any:
    """Read the pydicom data set of a file, with its pixels or only with what precedes them.

    Raises:
        S2MNetError: pydicom is not installed, or the file is damaged.
    """
    try:
        from pydicom import dcmread
    except ImportError:
        problem = "is a DICOM file, and pydicom, which reads them, is not installed"
        raise S2MNetError(path, problem, "Install it: pip install 's2mnet[dicom]'.") from None
    with guarded(path, "is damaged, or no DICOM file", "Export it again."):
        dataset = dcmread(path, stop_before_pixels=not pixels, force=_is_bare(path))
        if "TransferSyntaxUID" not in dataset.file_meta:  # without a preamble; pydicom guesses it
            dataset.file_meta.TransferSyntaxUID = _transfer_syntax(*dataset.original_encoding)
        return dataset


def find_series(path: Path) -> Files:
    """List the files of one series by name, each with its header.

    Args:
        path: a DICOM image, or a folder with the images of one series, at any depth. In a folder, files that are not
            DICOM, hidden files, a DICOMDIR and DICOM objects that are no images (reports, plans, segmentations) are
            skipped.

    Raises:
        S2MNetError: there is no image, or there are several series, which are named; a file named .dcm is not DICOM;
            slices differ in size; a file is a segmentation or a mosaic.
    """
    if path.is_file():
        header = load_dataset(path, pixels=False)
        if not _is_image(header):
            problem = f"is a DICOM object without pixels (modality {text(header, 'Modality') or 'unknown'})"
            raise S2MNetError(path, problem, "Give the file of an image.")
        series = [(path, header)]
    else:
        files = visible_files(path)
        headers = [(file, load_dataset(file, pixels=False)) for file in dicom_files(files)]
        series = [(file, header) for file, header in headers if _is_image(header) and not _is_mask(header)]
        if not series:
            problem = f"holds {len(files)} files, none of them a DICOM image"
            raise S2MNetError(path, problem, "Give the folder of one DICOM series.")
        _check_one_series(path, series)
    for file, header in series:
        _check_kind(file, header, len(series))
    _check_one_size(path, series)
    return series


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(132)


def _is_bare(path: Path) -> bool:
    """Whether a file begins with a data element of group 2 or 8, as files without a preamble do."""
    start = _start(path)
    if len(start) < 132 or start[128:] == b"DICM":
        return False
    little = start[:2] in (b"\x02\x00", b"\x08\x00") and start[3] == 0
    big = start[:2] in (b"\x00\x02", b"\x00\x08") and start[2] == 0
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    implicit = little and int.from_bytes(start[4:8], "little") <= 64  # the first element is short
    return (little or big) and (explicit or implicit)


def _transfer_syntax(implicit: bool | None, little: bool | None) -> Any:
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _is_image(header: Any) -> bool:
    return bool(header.get("Rows") and header.get("Columns"))


def _is_mask(header: Any) -> bool:
    return bool(header.get("Modality") == "SEG")


def _check_one_series(path: Path, files: Files) -> None:
    series: dict[str, Files] = {}
    for file, header in files:
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((file, header))
    if len(series) == 1:
        return
    names = []
    for members in list(series.values())[:10]:
        file, header = members[0]
        title = text(header, "SeriesDescription") or text(header, "Modality") or "no description"
        names.append(
            f"series {whole(header, 'SeriesNumber') or '?'} “{title}” ({len(members)} files, first {file.name})"
        )
    names += ["…"] if len(series) > 10 else []
    problem = f"holds {len(series)} DICOM series: {'; '.join(names)}"
    raise S2MNetError(path, problem, "Move each series into a folder of its own.")


def _check_kind(path: Path, header: Any, files: int) -> None:
    if _is_mask(header):
        raise S2MNetError(path, "is a DICOM segmentation, not an image", "Give the image it was drawn on.")
    if header.get("TotalPixelMatrixRows") or str(header.get("DimensionOrganizationType", "")).startswith("TILED"):
        problem = (
            f"is a whole slide in {whole(header, 'NumberOfFrames') or 1} tiles of one matrix, not a stack of slices"
        )
        fix = "Export the slide, or a part of it, as one image, e.g. with dicom2tiff or QuPath, and predict that."
        raise S2MNetError(path, problem, fix)
    if "MOSAIC" in (header.get("ImageType") or ()):
        problem = "is a mosaic of many slices in one image"
        raise S2MNetError(path, problem, "Convert it to NIfTI, e.g. with dcm2niix.")
    if files > 1 and (whole(header, "NumberOfFrames") or 1) > 1:
        problem = f"is a file of {header.NumberOfFrames} frames among {files} files of its series"
        raise S2MNetError(path, problem, "Give one of the files.")


def _check_one_size(path: Path, files: Files) -> None:
    sizes: dict[tuple[int, int, int], Path] = {}
    for file, header in files:
        sizes.setdefault((int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1)), file)
    if len(sizes) > 1:
        shown = ", ".join(f"{rows} × {columns} × {n} in {file.name}" for (rows, columns, n), file in sizes.items())
        raise S2MNetError(path, f"has slices of several sizes (rows × columns × channels: {shown})", _NO_OTHER_VIEWS)
