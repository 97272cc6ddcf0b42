"""Whole small files of every format, and the reader of each."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tifffile
import torch
from PIL import Image

from s2mnet.data import Case, Dataset, LabelMap, read_image, read_mask
from s2mnet.data.casetable import CaseFacts, read_case_table, write_case_table
from s2mnet.datasets.archives import unpack
from s2mnet.datasets.sets.stare import read_ppm
from s2mnet.evaluation.results import evaluate, load, save
from s2mnet.fingerprint.record import Fingerprint
from s2mnet.modelfolder import CONFIG, WEIGHTS, ModelConfig, load_model, save_model
from s2mnet.network import S2MNet
from s2mnet.plan import Plan, Preprocessing
from s2mnet.training.state import StateFile
from s2mnet.training.store import PreparedCases
from s2mnet.volumes import read_volume

Reader = Callable[[Path], Any]
NARROW = {"channels": [4] * 5, "num_frequencies": 2, "stem_channels": 4}
_PLAN = Preprocessing(extent="whole", size=(32, 32), channels=["grey"], normalisation="image")
_LABELS = LabelMap(kind="threshold", values=[0, 255])


def write_seeds(folder: Path) -> dict[str, list[tuple[Path, Reader]]]:
    """Write a whole file of every format into a folder: by kind of reader, each file with the reader that takes it.

    Each file has a folder of its own, where its reader may need others.
    """
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (12, 10), np.uint8), rng.integers(0, 256, (12, 10, 3), np.uint8)
    mask = np.where(grey > 127, 255, 0).astype(np.uint8)
    kinds: dict[str, list[tuple[Path, Reader]]] = {
        "images": [(file, read_image) for file in _images(folder / "images", grey, colour)],
        "masks": [
            (file, read_mask)
            for file in _images(folder / "masks", mask, np.stack([mask] * 3, -1))
            if file.name not in ("stack.tif", "grey.jpg", "colour.jpg", "jpeg.tif", "float.tif")  # are no masks
        ],
        "ppm images": [(file, read_ppm) for file in _pnm(folder / "pnm", colour)],
        "NIfTI": [(file, read_volume) for file in _nifti(folder / "nifti", rng)],
        "DICOM": [(file, read_volume) for file in _dicom(folder / "dicom", rng)],
        "archives": [(file, _unpacked) for file in _archives(folder / "archives")],
        "tables, plans and results": _texts(folder / "texts", mask),
        "models": _models(folder / "models"),
        "cached images": _cache(folder / "cache", grey, mask),
    }
    return kinds


def _images(folder: Path, grey: np.ndarray, colour: np.ndarray) -> list[Path]:
    folder.mkdir()
    for name in ("grey.png", "grey.bmp", "grey.gif", "grey.jpg"):
        Image.fromarray(grey).save(folder / name)
    for name in ("colour.png", "colour.jpg", "colour.tif"):
        Image.fromarray(colour).save(folder / name)
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(grey).quantize(4).save(folder / "palette.png")
    for name in ("packbits", "tiff_lzw", "tiff_deflate", "jpeg", "group4"):
        Image.fromarray(grey).convert("1" if name == "group4" else "L").save(folder / f"{name}.tif", compression=name)
    tifffile.imwrite(folder / "deep.tif", grey.astype(np.uint16), compression="zlib")
    tifffile.imwrite(folder / "float.tif", grey / np.float32(255), compression="zlib")
    tifffile.imwrite(folder / "stack.tif", np.stack([grey] * 5, -1), photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(folder / "big.tif", grey, bigtiff=True, byteorder=">")
    return sorted(folder.iterdir())


def _pnm(folder: Path, colour: np.ndarray) -> list[Path]:
    folder.mkdir()
    Image.fromarray(colour).save(folder / "a.ppm")
    (folder / "b.ppm.gz").write_bytes(gzip.compress((folder / "a.ppm").read_bytes()))
    return sorted(folder.iterdir())


def _nifti(folder: Path, rng: np.random.Generator) -> list[Path]:
    folder.mkdir()
    grid, affine = rng.integers(0, 1000, (9, 8, 3)).astype(np.int16), np.diag([1, 1, 3.0, 1])
    nibabel.save(nibabel.Nifti1Image(grid, affine), folder / "one.nii")  # type: ignore[attr-defined]
    nibabel.save(nibabel.Nifti2Image(grid, affine), folder / "two.nii")  # type: ignore[attr-defined]
    nibabel.save(nibabel.Nifti1Image(grid / np.float32(7), affine), folder / "c.nii.gz")  # type: ignore[attr-defined]
    return sorted(folder.iterdir())


def _dicom(folder: Path, rng: np.random.Generator) -> list[Path]:
    from pydicom.dataset import Dataset as Elements
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

    folder.mkdir()
    for name, frames, syntax in (
        ("plain", 1, ExplicitVRLittleEndian),
        ("implicit", 1, ImplicitVRLittleEndian),
        ("frames", 3, ExplicitVRLittleEndian),
        ("rle", 1, RLELossless),
    ):
        elements = Elements()
        elements.file_meta = FileMetaDataset()
        elements.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
        elements.SOPClassUID, elements.SOPInstanceUID = CTImageStorage, generate_uid(entropy_srcs=[name])
        elements.file_meta.MediaStorageSOPClassUID = elements.SOPClassUID
        elements.file_meta.MediaStorageSOPInstanceUID = elements.SOPInstanceUID
        elements.SeriesInstanceUID, elements.Modality = generate_uid(entropy_srcs=["series"]), "CT"
        elements.Rows, elements.Columns, elements.SamplesPerPixel = 9, 8, 1
        elements.PhotometricInterpretation, elements.PixelRepresentation = "MONOCHROME2", 1
        elements.BitsAllocated, elements.BitsStored, elements.HighBit = 16, 16, 15
        elements.PixelSpacing, elements.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
        elements.ImagePositionPatient, elements.InstanceNumber = [0, 0, 1], 1
        elements.RescaleSlope, elements.RescaleIntercept = 2, -1024
        elements.WindowCenter, elements.WindowWidth = 40, 400
        if frames > 1:
            elements.NumberOfFrames = frames
        elements.PixelData = rng.integers(-500, 500, (frames, 9, 8)).astype(np.int16).tobytes()
        if syntax == RLELossless:
            elements.compress(RLELossless)
        elements.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    return sorted(folder.iterdir())


def _archives(folder: Path) -> list[Path]:
    folder.mkdir()
    content = {"a/b.txt": b"text" * 50, "c.txt": bytes(range(256))}
    for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED),
                         ("bzip2", zipfile.ZIP_BZIP2), ("lzma", zipfile.ZIP_LZMA)):  # fmt: skip
        with zipfile.ZipFile(folder / f"{name}.zip", "w", method) as packed:
            for entry, data in content.items():
                packed.writestr(entry, data)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for entry, data in content.items():
            facts = tarfile.TarInfo(entry)
            facts.size = len(data)
            tar.addfile(facts, io.BytesIO(data))
    (folder / "plain.tar").write_bytes(plain.getvalue())
    for name in ("gzip.tar.gz", "gzip.tgz"):
        (folder / name).write_bytes(gzip.compress(plain.getvalue()))
    return sorted(folder.iterdir())


def _unpacked(file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        unpack(file, Path(folder, "unpacked"))


def _texts(folder: Path, mask: np.ndarray) -> list[tuple[Path, Reader]]:
    Plan(labels=_LABELS, preprocessing=_PLAN).save(folder / "plan" / "plan.yaml")
    Dataset(
        name="set", classes={0: "rest", 1: "core", 2: "rim"}, ignore=255, regions={"all": [1, 2], "core": [1]}
    ).save(folder / "dataset")
    facts = {f"a{number}": CaseFacts("p", "v", number, 1.0, 1.0, 2.5) for number in range(3)}
    write_case_table(folder / "cases", facts)
    foreground = (mask > 0).astype(int)
    save(evaluate([("a", foreground, foreground)], {"lesion": [1]}), folder / "metrics")
    Fingerprint(name="polyps").save(folder / "fingerprint" / "fingerprint.json")
    return [
        (folder / "plan" / "plan.yaml", Plan.load),
        (folder / "dataset" / "dataset.yaml", lambda file: Dataset.load(file.parent)),
        (folder / "cases" / "cases.csv", lambda file: read_case_table(file.parent)),
        (folder / "metrics" / "metrics.json", lambda file: load(file.parent)),
        (folder / "fingerprint" / "fingerprint.json", Fingerprint.load),
    ]


def _models(folder: Path) -> list[tuple[Path, Reader]]:
    network, config = S2MNet(1, 1, **NARROW), ModelConfig(preprocessing=_PLAN, labels=_LABELS)  # type: ignore[arg-type]
    for name in (CONFIG, WEIGHTS):
        save_model(network, config, folder / name)
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    state = {"state_dict": weights, "optimizer_states": [{"state": {}}], "callbacks": {"History": {"records": []}}}
    torch.save(state, folder / "last.ckpt")
    last = StateFile(folder / CONFIG, lambda: weights)
    return [
        *((folder / name / name, lambda file: load_model(file.parent)) for name in (CONFIG, WEIGHTS)),
        (folder / "last.ckpt", last.load_checkpoint),
    ]


def _cache(folder: Path, grey: np.ndarray, mask: np.ndarray) -> list[tuple[Path, Reader]]:
    folder.mkdir()
    Image.fromarray(grey).save(folder / "image.png")
    Image.fromarray(mask).save(folder / "mask.png")
    case = Case(name="image", image=folder / "image.png", mask=folder / "mask.png")
    cases = PreparedCases([case], _PLAN, _LABELS, True, folder)
    want = [array.copy() for array in cases[0]]

    def read(_: Path) -> None:
        got = cases[0]
        assert [array.shape for array in got] == [array.shape for array in want]

    return [(file, read) for file in sorted(folder.glob("??/*.npy"))]
