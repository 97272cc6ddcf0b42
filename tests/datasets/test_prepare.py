"""``prepare``: what it refuses, what it leaves behind, what it tells."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from trees import BUILDERS, box, colour, pnm_gz, save

from s2mnet.datasets import DATASETS, PublicSet, prepare
from s2mnet.errors import S2MNetError


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    BUILDERS["DRIVE"](tmp_path / "source")
    return tmp_path / "source/DRIVE"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_progress_and_summary(drive: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    summary = prepare("Drive", drive, tmp_path / "new/out", lambda done, total: calls.append((done, total)))
    assert calls == [(done, 11) for done in range(1, 12)]
    assert summary.counts == {"train": 4, "val": 4, "test": 3}
    assert summary.folder == tmp_path / "new/out" and summary.dataset.ignore == 255
    assert summary.notes == ["11 of the 40 images of DRIVE are here."]
    assert left(tmp_path / "new") == ["out"]


def test_an_empty_output_is_taken_and_a_full_one_refused(drive: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    prepare("DRIVE", drive, tmp_path / "out")
    before = left(tmp_path / "out")
    with pytest.raises(S2MNetError, match=r"out already exists\. Choose a new or an empty folder"):
        prepare("DRIVE", drive, tmp_path / "out")
    assert left(tmp_path / "out") == before == ["dataset.yaml", "test", "train", "val"]


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match=r"Kvasir-SEG, CVC-ClinicDB.*Did you mean CVC-ClinicDB\?"):
        prepare("clinic-db", tmp_path, tmp_path / "out")
    with pytest.raises(S2MNetError, match="s2mnet datasets"):
        prepare("zzz", tmp_path, tmp_path / "out")


def test_another_layout_says_what_was_looked_for_and_found(tmp_path: Path) -> None:
    save(tmp_path / "source/pictures/a.png", colour(0))
    with pytest.raises(S2MNetError) as refused:
        prepare("DRIVE", tmp_path / "source", tmp_path / "out")
    assert "a folder with pictures/" in refused.value.problem
    assert "training/1st_manual" in refused.value.problem and "grand-challenge" in refused.value.fix
    with pytest.raises(S2MNetError, match="no such file or folder"):
        prepare("DRIVE", tmp_path / "nowhere", tmp_path / "out")
    assert left(tmp_path) == ["source"]


def test_two_places_that_fit(tmp_path: Path) -> None:
    """The folder called like the data set is taken; of two others neither."""
    for name in ("CVC-300", "CVC-ColonDB"):
        for number in (1, 2):
            save(tmp_path / f"source/{name}/images/{number}.png", colour(number))
            save(tmp_path / f"source/{name}/masks/{number}.png", box(number, 255))
    save(tmp_path / "source/CVC-ColonDB/images/3.png", colour(3))
    save(tmp_path / "source/CVC-ColonDB/masks/3.png", box(3, 255))
    assert prepare("CVC-ColonDB", tmp_path / "source", tmp_path / "out").counts["train"] == 2
    with pytest.raises(S2MNetError, match=r"2 places that could be ETIS.*CVC-300 and CVC-ColonDB"):
        prepare("ETIS-LaribPolypDB", tmp_path / "source", tmp_path / "other")


def test_archives_in_a_folder_and_in_an_archive(drive: Path, tmp_path: Path) -> None:
    """DRIVE comes as an archive of two archives; others as several archives in a folder."""
    parts = tmp_path / "parts"
    for part in ("training", "test"):
        shutil.make_archive(str(parts / part), "zip", drive, part)
    shutil.make_archive(str(tmp_path / "datasets"), "zip", parts)
    for number, source in enumerate((parts, tmp_path / "datasets.zip")):
        assert sum(prepare("DRIVE", source, tmp_path / f"out{number}").counts.values()) == 11
    assert left(tmp_path) == ["datasets.zip", "out0", "out1", "parts", "source"]
    assert left(parts) == ["test.zip", "training.zip"]


def _truncate(drive: Path) -> None:
    file = drive / "training/images/40_training.tif"
    file.write_bytes(file.read_bytes()[:-900])


def _without_mask(drive: Path) -> None:
    (drive / "test/1st_manual/02_manual1.gif").unlink()


def _without_field(drive: Path) -> None:
    (drive / "training/mask/21_training_mask.gif").unlink()


def _other_size(drive: Path) -> None:
    save(drive / "training/images/22_training.tif", colour(0)[:, :-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, r"40_training\.tif .*damaged"),
        (_without_mask, r"02_test\.tif is an image without its mask 02_manual1\. Complete the download"),
        (_without_field, r"21_training\.tif is an image without its mask 21_training_mask\. Complete the download"),
        (_other_size, "22_training has an image of 40 × 47 and a mask of 40 × 48 pixels"),
    ],
)
def test_a_failure_leaves_nothing(drive: Path, tmp_path: Path, damage: object, message: str) -> None:
    damage(drive)  # type: ignore[operator]
    with pytest.raises(S2MNetError, match=message):
        prepare("DRIVE", drive, tmp_path / "new/deep/out")
    assert left(tmp_path) == ["source"]


def test_an_interruption_leaves_nothing(drive: Path, tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("DRIVE", drive, tmp_path / "out", stop)
    assert left(tmp_path) == ["source"]


def test_the_next_call_deletes_what_a_kill_left_beside_a_whole_output(drive: Path, tmp_path: Path) -> None:
    prepare("DRIVE", drive, tmp_path / "out")
    (tmp_path / ".s2mnet-out.lock").touch()
    (tmp_path / ".s2mnet-out.part").mkdir()
    with pytest.raises(S2MNetError, match="already exists"):
        prepare("DRIVE", drive, tmp_path / "out")
    assert left(tmp_path) == ["out", "source"]


@pytest.mark.skipif(os.name == "nt", reason="a folder that cannot be made, by a file in its way")
def test_an_output_that_cannot_be_written(drive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(S2MNetError, match="cannot be written to"):
        prepare("DRIVE", drive, tmp_path / "file/out")


def test_more_images_than_the_set_has(tmp_path: Path) -> None:
    for place in range(21):
        pnm_gz(tmp_path / f"source/stare-images/im{place:04d}.ppm.gz", colour(place))
        pnm_gz(tmp_path / f"source/labels-ah/im{place:04d}.ah.ppm.gz", box(place, 255))
    with pytest.raises(S2MNetError, match="has 21 images; STARE has at most 20"):
        prepare("STARE", tmp_path / "source", tmp_path / "out")


def test_damaged_ppm_and_nifti(tmp_path: Path) -> None:
    BUILDERS["STARE"](tmp_path / "stare")
    file = tmp_path / "stare/stare-images/im0001.ppm.gz"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(S2MNetError, match=r"im0001\.ppm\.gz is a damaged ppm image"):
        prepare("STARE", tmp_path / "stare", tmp_path / "out")
    BUILDERS["ACDC"](tmp_path / "acdc")
    file = next((tmp_path / "acdc").rglob("patient003_frame12.nii.gz"))
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(S2MNetError, match=r"patient003_frame12\.nii\.gz is damaged"):
        prepare("ACDC", tmp_path / "acdc", tmp_path / "out")


def test_neighbours_of_what_has_none(drive: Path, tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match="DRIVE, which is no set of volumes"):
        prepare("DRIVE", drive, tmp_path / "out", neighbours=1)
    with pytest.raises(S2MNetError, match="--neighbours is -1"):
        prepare("ACDC", drive, tmp_path / "out", neighbours=-1)
    assert left(tmp_path) == ["source"]


def test_two_files_of_one_stem(tmp_path: Path) -> None:
    BUILDERS["Kvasir-SEG"](tmp_path / "source")
    save(tmp_path / "source/Kvasir-SEG/images/cju0abc.png", np.zeros((40, 48), np.uint8))
    with pytest.raises(S2MNetError, match="two files with one stem"):
        prepare("Kvasir-SEG", tmp_path / "source", tmp_path / "out")


def test_one_image_in_two_places(tmp_path: Path) -> None:
    """In two kinds of BUSI: one of them would replace the other."""
    BUILDERS["BUSI"](tmp_path / "source")
    root = tmp_path / "source/Dataset_BUSI_with_GT"
    for name in ("benign (1).png", "benign (1)_mask.png"):
        shutil.copy(root / "benign" / name, root / "normal" / name)
    with pytest.raises(S2MNetError, match=r"has benign \(1\) more than once"):
        prepare("BUSI", tmp_path / "source", tmp_path / "out")
    assert left(tmp_path) == ["source"]


def test_a_single_patient_is_said_to_be_in_both_parts(tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path / f"source/images/10000_{number}.png", colour(number))
        save(tmp_path / f"source/masks/10000_{number}.png", np.zeros((40, 48, 3), np.uint8))
    notes = prepare("BraTS-slices", tmp_path / "source", tmp_path / "out").notes
    assert any("one patient" in note for note in notes)
    BUILDERS["Kvasir-SEG"](tmp_path / "many")
    assert not any("one patient" in note for note in prepare("Kvasir-SEG", tmp_path / "many", tmp_path / "two").notes)


def test_a_layout_is_found_three_folders_down_and_no_deeper(tmp_path: Path) -> None:
    BUILDERS["Kvasir-SEG"](tmp_path / "a/b/c")  # the set has a folder of its own
    assert sum(prepare("Kvasir-SEG", tmp_path / "a/b", tmp_path / "out").counts.values()) == 10
    assert sum(prepare("Kvasir-SEG", tmp_path / "a", tmp_path / "deeper").counts.values()) == 10
    with pytest.raises(S2MNetError, match=r"the layout of Kvasir-SEG is images"):
        prepare("Kvasir-SEG", tmp_path, tmp_path / "deepest")


def test_a_name_without_its_patient_and_a_mask_without_colours(tmp_path: Path) -> None:
    BUILDERS["CHASE_DB1"](tmp_path / "source")
    for end in (".jpg", "_1stHO.png"):
        shutil.copy(tmp_path / f"source/Image_01L{end}", tmp_path / f"source/Image_01{end}")
    with pytest.raises(S2MNetError, match=r"Image_01\.jpg has a name that does not follow the pattern"):
        prepare("CHASE_DB1", tmp_path / "source", tmp_path / "out")
    BUILDERS["BraTS-slices"](tmp_path / "slices")
    mask = next((tmp_path / "slices").rglob("masks/*"))
    save(mask, box(0, 255))
    with pytest.raises(S2MNetError, match=rf"{mask.name} is grey; a mask has coloured regions"):
        prepare("BraTS-slices", tmp_path / "slices", tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"colours": {7: "#ffffff"}}, "colours must be given by the values of classes"),
        ({"layouts": [{"parts": [{"images": "*", "mask": "x"}]}]}, "layouts.0.parts.0.mask"),
        ({"layouts": [{"parts": [{"images": "*"}]}]}, "a part has masks"),
        ({"layouts": [{"parts": [{"images": "*", "masks": "masks/*"}]}]}, "a part has masks"),
        ({"layouts": [{"parts": [{"images": "*", "masks": "{}_m.*", "field": "f/*"}]}]}, "a part has masks"),
        ({"labels": "guess"}, "labels"),
        ({"reader": "s2mnet.datasets.sets.acdc.nothing"}, "reader"),
    ],
)
def test_a_wrong_description_does_not_load(change: dict, place: str) -> None:
    """Each field of an entry is checked; the same entry without the change is read."""
    entry = DATASETS["PH2"].model_dump(exclude={"reader"})
    assert PublicSet(**entry).dataset() == DATASETS["PH2"].dataset()
    with pytest.raises(ValidationError, match=place):
        PublicSet(**entry | change)
