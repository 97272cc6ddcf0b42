"""The demo's data: real MRI from an installed package, nothing of the held-out block near the training slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s2mnet.data import find_cases, read_image, read_mask
from s2mnet.demo import BLOCKS, FILES, write_slices


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    write_slices(folder)
    return folder


def test_the_held_out_block_is_contiguous_and_apart() -> None:
    test = BLOCKS["test"]
    assert test == list(range(test[0], test[-1] + 1))
    others = [index for split in ("train", "val") for index in BLOCKS[split]]
    assert min(abs(a - b) for a in test for b in others) >= 4
    assert not set(BLOCKS["train"]) & set(BLOCKS["val"])


def test_slices_are_those_of_the_volumes(slices: Path) -> None:
    """Against the volumes read by nibabel here, by the anatomy: white matter is brighter than grey in T1."""
    import nibabel
    import nilearn

    folder = find_cases(slices)
    assert {split: len(cases) for split, cases in folder.splits.items()} == {k: len(v) for k, v in BLOCKS.items()}
    data = Path(nilearn.__file__).parent / "datasets" / "data"
    volumes = {tissue: nibabel.load(data / file).get_fdata() for tissue, file in FILES.items()}
    case = folder.splits["test"][0]
    index = int(case.name.split("_")[1])
    image, mask = read_image(case.image), read_mask(case.mask)
    np.testing.assert_array_equal(image, np.rot90(volumes["t1"][:, :, index]))
    # A voxel is white matter exactly where that is the likelier tissue and at least as likely as not.
    grey, white = (np.rot90(volumes[tissue][:, :, index]) / 255 for tissue in ("gm", "wm"))
    np.testing.assert_array_equal(mask == 2, (white > grey) & (white >= 0.5))
    np.testing.assert_array_equal(mask == 1, (grey >= white) & (grey >= 0.5))
    assert image[mask == 2].mean() > image[mask == 1].mean() > image[mask == 0].mean()
