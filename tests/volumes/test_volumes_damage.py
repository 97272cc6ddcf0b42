"""Damaged files, many of them: each is read or refused by one message of bounded length."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicoms import item, write

from s2mnet import S2MNetError
from s2mnet.volumes import read_volume

STACK = np.random.default_rng(0).integers(0, 1000, (3, 8, 9)).astype(np.int16)
PLANE = {"ImagePositionPatient": [0, 0, 1], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}


def nifti(folder: Path, kind: type) -> bytes:
    return kind(STACK, np.diag([1, 1, 3.0, 1])).to_bytes()


def zipped(folder: Path) -> bytes:
    return gzip.compress(nifti(folder, nibabel.Nifti1Image))


def slice_of_ct(folder: Path) -> bytes:
    return write(folder / "seed", STACK[0], RescaleSlope=2, WindowCenter=40, WindowWidth=400, **PLANE).read_bytes()


def dose(folder: Path) -> bytes:
    return write(folder / "seed", STACK, 3, GridFrameOffsetVector=[0, 1, 2], **PLANE).read_bytes()


def enhanced(folder: Path) -> bytes:
    frames = [item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, k])]) for k in range(3)]
    orientation = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared = item(PlaneOrientationSequence=[orientation], PixelMeasuresSequence=[item(PixelSpacing=[1, 1])])
    elements = {"PerFrameFunctionalGroupsSequence": frames, "SharedFunctionalGroupsSequence": [shared]}
    return write(folder / "seed", STACK, 3, **elements).read_bytes()


SEEDS = {
    "a.nii": lambda folder: nifti(folder, nibabel.Nifti1Image),
    "b.nii": lambda folder: nifti(folder, nibabel.Nifti2Image),
    "c.nii.gz": zipped,
    "d.dcm": slice_of_ct,
    "e.dcm": dose,
    "f.dcm": enhanced,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SEEDS)
def test_damage_of_any_kind_is_one_message(tmp_path: Path, name: str) -> None:
    if name.endswith(".dcm"):
        pytest.importorskip("pydicom", reason="needs pydicom: pip install 's2mnet[dicom]'")
    whole, choice = SEEDS[name](tmp_path), random.Random(name)
    file, refused = tmp_path / name, 0
    for _ in range(150):
        content = bytearray(whole)
        if choice.random() < 0.15:
            del content[choice.randrange(len(content)) :]
        else:  # headers are where it matters
            reach = min(len(content), 600 if choice.random() < 0.7 else len(content))
            for _ in range(choice.choice([1, 1, 2, 4, 16])):
                content[choice.randrange(reach)] = choice.choice([0, 127, 128, 255, choice.randrange(256)])
        file.write_bytes(content)
        try:
            read_volume(file)
        except S2MNetError as error:
            refused += 1
            assert error.where == str(file) and len(str(error)) < 900 + len(str(file)), error
    assert 20 < refused < 150
