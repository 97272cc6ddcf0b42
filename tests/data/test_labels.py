"""Label inference on made-up and on real masks; encoding and decoding as inverses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from s2mnet.data.images import read_mask
from s2mnet.data.labels import IGNORE_INDEX, LabelMap, infer_labels
from s2mnet.errors import S2MNetError


def masks(*value_sets: object) -> dict[Path, dict[int, int]]:
    """Histograms of masks a0.png, a1.png, …: from sets of values (500 px each) or given in full."""
    return {
        Path(f"masks/a{index}.png"): dict(values) if isinstance(values, dict) else dict.fromkeys(sorted(values), 500)
        for index, values in enumerate(value_sets)
    }


def histogram(path: Path) -> dict[int, int]:
    return dict(Counter(read_mask(path).reshape(-1).tolist()))


def real(folder: Path, pattern: str, count: int = 4) -> dict[Path, dict[int, int]]:
    files = sorted(folder.glob(pattern))[:count]
    assert files, f"no {pattern} in {folder}"
    return {file: histogram(file) for file in files}


@pytest.mark.parametrize(
    ("value_sets", "values", "ignore_value"),
    [
        ([{0, 1}, {0}], [0, 1], None),
        ([{0, 255}, {0}, {255}], [0, 255], None),
        ([{0, 65535}, {0}], [0, 65535], None),
        ([{0, 1, 255}, {0, 255}], [0, 1], 255),
        ([{0, 1, 2, 3, 255}, {0, 2}], [0, 1, 2, 3], 255),
        ([{0, 1, 3}, {0, 2}, {0}], [0, 1, 2, 3], None),
        ([set(range(9)), {0}], list(range(9)), None),
        ([{0, 10, 20}, {0, 30}], [0, 10, 20, 30], None),
        ([{0, 128, 255}, {0, 128, 255}], [0, 128, 255], None),
        ([{0, 85, 170, 255}], [0, 85, 170, 255], None),
    ],
)
def test_values_that_stand_for_classes(value_sets: list[set[int]], values: list[int], ignore_value: int | None) -> None:
    labels = infer_labels(masks(*value_sets))
    assert (labels.kind, labels.values, labels.ignore_value) == ("classes", values, ignore_value)
    assert labels.num_outputs == (1 if len(values) == 2 else len(values))


@pytest.mark.parametrize(
    "noisy",
    [
        {0: 9000, 1: 30, 2: 9, 3: 2, 252: 3, 253: 8, 254: 20, 255: 900},  # JPEG
        {0: 9000, 8: 3, 11: 700, 12: 9, 13: 5, 14: 2, 96: 1, 255: 900},  # faint grey noise, as in CVC-ClinicDB
        {0: 9000, 1: 4, 254: 3, 255: 900},
    ],
)
def test_noise_around_0_and_255_is_a_threshold(noisy: dict[int, int]) -> None:
    labels = infer_labels(masks(noisy, {0: 500, 255: 20}))
    assert (labels.kind, labels.values) == ("threshold", [0, 255])
    raw = np.array(list(noisy))
    np.testing.assert_array_equal(labels.encode(raw, "a.png"), (raw > 127).astype(int))


@pytest.mark.parametrize(("between", "accepted"), [(19, True), (21, False)])
def test_noise_ends_where_more_than_2_percent_lie_between(between: int, accepted: bool) -> None:
    counts = masks({0: 800 - between, 3: 50, 20: 20, 100: between, 240: 30, 255: 100})
    if accepted:
        assert infer_labels(counts).kind == "threshold"
    else:
        with pytest.raises(S2MNetError):
            infer_labels(counts)


def test_noise_on_one_side_has_at_least_four_values() -> None:
    few = {0: 9000, 3: 30, 8: 9, 11: 5, 255: 900}
    assert infer_labels(masks({**few, 14: 2})).kind == "threshold"
    with pytest.raises(S2MNetError, match=r"a0\.png has the value"):
        infer_labels(masks(few))


@pytest.mark.parametrize(("between", "accepted"), [(990, True), (1010, False)])
def test_a_single_mask_may_have_10_percent_between(between: int, accepted: bool) -> None:
    noisy = {0: 900_000, 1: 30, 2: 9, 253: 8, 254: 20, 255: 9000}
    counts = masks(noisy, {0: 9000 - between, 100: between, 255: 1000}, noisy)
    if accepted:
        assert infer_labels(counts).kind == "threshold"
    else:
        with pytest.raises(S2MNetError, match=r"a1\.png looks like a grey-level image"):
            infer_labels(counts)


def test_one_file_with_a_stray_value_is_named_with_the_value_and_its_pixels() -> None:
    with pytest.raises(S2MNetError, match=r"a2\.png has the value 7 on 12 px; the other masks have only 0, 255\."):
        infer_labels(masks({0, 255}, {0, 255}, {0: 50, 7: 12, 255: 9}, {0}))
    with pytest.raises(S2MNetError, match=r"a1\.png has the value 15 on 3 px; .* only 0, 10, 20, 30\."):
        infer_labels(masks({0, 10, 20}, {0: 50, 15: 3, 30: 9}, {0, 10, 30}))
    with pytest.raises(S2MNetError, match=r"a3\.png has the value 200 on 3 px"):
        infer_labels(masks({0, 1, 2}, {0, 1}, {0, 2}, {0: 50, 200: 3}))


def test_all_files_with_stray_values_are_named_at_once() -> None:
    clean = [{0, 255}] * 20
    strays = [{0: 50, 255: 9, value: value + 1} for value in (7, 8, 9)]
    message = (
        r"a20\.png has the value 7 on 8 px; a21\.png has 8 on 9 px; a22\.png has 9 on 10 px; "
        r"the other masks have only 0, 255\."
    )
    with pytest.raises(S2MNetError, match=message):
        infer_labels(masks(*clean, *strays))
    with pytest.raises(S2MNetError, match=r"a31\.png has 7 on 8 px; 2 more masks have such values"):
        infer_labels(masks(*clean, *[strays[0]] * 3, *[{0, 255}] * 2, *[strays[0]] * 9))
    labels = LabelMap(kind="classes", values=[0, 1])
    with pytest.raises(S2MNetError, match=r"has the value 4 on 1 px, 5 on 2 px, 7 on 3 px; the labels are only 0, 1"):
        labels.encode(np.array([0, 4, 5, 5, 7, 7, 7]), "x.png")
    with pytest.raises(S2MNetError, match=r"values 0, 3, 10, 11 \(3 on 500 px of a0\.png, 10 on 500 px of a1\.png"):
        infer_labels(masks({0, 3}, {0, 10, 11}, {0, 3, 11}, {0, 10}))


def test_a_stray_value_is_not_taken_for_a_class_or_for_ignore() -> None:
    # 0, 128, 255 would pass as three evenly spaced classes, and 0, 1, 255 as one class and ignore.
    for stray in (1, 128):
        with pytest.raises(S2MNetError, match=rf"a1\.png has the value {stray} on 4 px"):
            infer_labels(masks({0, 255}, {0: 90, stray: 4, 255: 9}, {0, 255}, {0}))


def test_masks_of_0_and_1_mixed_with_0_and_255_are_refused() -> None:
    with pytest.raises(S2MNetError, match=r"a2\.png has the value 255 on 500 px; the other masks have only 0 to 1\."):
        infer_labels(masks({0, 1}, {0, 1}, {0, 255}))
    with pytest.raises(S2MNetError, match=r"a0\.png has the value 1 on 500 px; the other masks have only 0 and 255\."):
        infer_labels(masks({0, 1}, {0, 255}, {0, 255}))


def test_masks_without_foreground_or_background_are_refused() -> None:
    for labels in ("auto", "binary", "threshold", "classes"):
        with pytest.raises(S2MNetError, match=r"^masks has only empty masks"):
            infer_labels(masks({0}, {0}), labels)
    with pytest.raises(S2MNetError, match="255 everywhere"):
        infer_labels(masks({255}, {255}))
    with pytest.raises(S2MNetError, match=r"a0\.png has no background: no mask has the value 0"):
        infer_labels(masks({1, 2, 3}))
    with pytest.raises(S2MNetError, match=r"only empty masks.*127"):
        infer_labels(masks({0, 1}), "threshold")
    with pytest.raises(S2MNetError, match=r"-3 on 500 px"):
        infer_labels(masks({0, -3}))
    with pytest.raises(S2MNetError, match="no masks"):
        infer_labels({})


def test_instance_labels_are_recognised_and_the_mend_works() -> None:
    counts = masks(set(range(12)), set(range(31)), set(range(5)))
    with pytest.raises(S2MNetError, match=r"a1\.png.*0 to 30.*instance labels.*--labels binary"):
        infer_labels(counts)
    labels = infer_labels(counts, "binary")
    raw = np.arange(31).reshape(1, -1)
    np.testing.assert_array_equal(labels.encode(raw, "a"), raw > 0)
    assert labels.decode(np.array([0, 1])).tolist() == [0, 255]


def test_more_than_nine_values_are_no_classes() -> None:
    for step in (1, 20):
        assert infer_labels(masks(set(range(0, 9 * step, step)))).num_classes == 9
        with pytest.raises(S2MNetError, match=r"a0\.png|^masks"):
            infer_labels(masks(set(range(0, 10 * step, step))))


def test_steps_of_at_least_five_may_differ_by_one() -> None:
    assert infer_labels(masks({0, 5, 11})).values == [0, 5, 11]
    for uneven in ({0, 4, 9}, {0, 5, 12}):
        with pytest.raises(S2MNetError, match="masks"):
            infer_labels(masks(uneven))


def test_grey_images_in_place_of_masks_are_refused() -> None:
    ramp = {value: 40 for value in range(256)}
    with pytest.raises(S2MNetError, match=r"a0\.png looks like a grey-level image"):
        infer_labels(masks(ramp, ramp))
    noisy = {0: 900_000, 1: 30, 2: 9, 253: 8, 254: 20, 255: 9000}
    with pytest.raises(S2MNetError, match=r"a1\.png looks like a grey-level image"):
        infer_labels(masks(noisy, ramp, noisy))  # one among many, below 2 % of all pixels
    assert infer_labels(masks(ramp), "threshold").kind == "threshold"


def test_classes_as_they_stand() -> None:
    labels = infer_labels(masks({0, 2, 5}, {1, 255}), "classes")
    assert (labels.values, labels.ignore_value) == ([0, 1, 2, 3, 4, 5], 255)
    with pytest.raises(S2MNetError, match=r"a1\.png has the class index 300"):
        infer_labels(masks({0, 1}, {300}), "classes")
    with pytest.raises(S2MNetError, match="only empty masks"):
        infer_labels(masks({0, 255}), "classes")
    with pytest.raises(S2MNetError, match="'maybe'"):
        infer_labels(masks({0, 1}), "maybe")


@st.composite
def label_maps(draw: st.DrawFn) -> LabelMap:
    values = draw(st.lists(st.integers(0, 65535), min_size=2, max_size=20, unique=True))
    ignore_value = draw(st.one_of(st.none(), st.integers(0, 65535).filter(lambda value: value not in values)))
    return LabelMap(kind="classes", values=values, ignore_value=ignore_value)


@given(labels=label_maps(), data=st.data())
def test_encode_and_decode_are_inverse_and_the_map_survives_json(labels: LabelMap, data: st.DataObject) -> None:
    stored = labels.values + ([] if labels.ignore_value is None else [labels.ignore_value])
    flat = data.draw(st.lists(st.sampled_from(stored), min_size=1, max_size=60))
    raw = np.array(flat, dtype=np.int32).reshape(1, -1)
    indices = labels.encode(raw, "a.png")
    expected = [IGNORE_INDEX if value == labels.ignore_value else labels.values.index(value) for value in flat]
    assert indices.dtype == np.uint8 and indices.tolist() == [expected]
    for dtype in [np.uint16] + [np.uint8] * (max(flat) <= 255):
        assert labels.encode(raw.astype(dtype), "a.png").tolist() == [expected]
    decoded = labels.decode(indices)
    assert decoded.dtype == (np.uint8 if max(stored) <= 255 else np.uint16)
    np.testing.assert_array_equal(decoded, raw)
    assert labels.encode_counts(Counter(flat), "a.png") == dict(Counter(expected))
    assert LabelMap.model_validate_json(labels.model_dump_json()) == labels
    assert LabelMap.model_validate(labels.model_dump()) == labels


def test_unexpected_values_and_indices_are_refused() -> None:
    labels = LabelMap(kind="classes", values=[0, 255])
    raw = np.array([[0, 255], [7, 7]])
    for dtype in (np.uint8, np.int32):
        with pytest.raises(S2MNetError, match=r"^x\.png has the value 7 on 2 px; the labels are only 0, 255\."):
            labels.encode(raw.astype(dtype), "x.png")
    with pytest.raises(S2MNetError, match=r"^x\.png has the value 7 on 2 px"):
        labels.encode_counts({0: 1, 7: 2}, "x.png")
    for index in (-1, 2, IGNORE_INDEX, 300):
        with pytest.raises(S2MNetError, match=f"index {index};"):
            labels.decode(np.array([0, index]))


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "classes", "values": [0]},
        {"kind": "classes", "values": [0, 0]},
        {"kind": "classes", "values": [0, 1], "ignore_value": 1},
        {"kind": "classes", "values": [0, 70000]},
        {"kind": "classes", "values": [0, 1], "names": ["background"]},
        {"kind": "threshold", "values": [0, 1, 2]},
    ],
)
def test_an_inconsistent_label_map_cannot_be_made(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LabelMap.model_validate(fields)


def test_descriptions_say_what_a_user_needs() -> None:
    ignoring = LabelMap(kind="classes", values=[0, 1], ignore_value=255, names=["background", "vessel"])
    assert ignoring.describe() == "two labels: 0 background, 1 vessel; 255 is ignored (no truth there)"
    parts = LabelMap(kind="classes", values=[0, 10, 20])
    assert parts.describe() == "3 labels: 0 background, 10 class 1, 20 class 2"
    assert "above 0" in LabelMap(kind="binary", values=[0, 255]).describe()


@pytest.mark.parametrize(
    ("pattern", "kind", "values"),
    [
        ("Kvasir-SEG/masks/*.jpg", "threshold", [0, 255]),
        ("CVC-ClinicDB/PNG/Ground Truth/*.png", "threshold", [0, 255]),
        ("DRIVE/training/1st_manual/*.gif", "classes", [0, 255]),
        ("EndoVis2017/*/ground_truth/*.png", "classes", [0, 10, 20, 30]),
        ("BUSI/*/*/*_mask.png", "classes", [0, 255]),
        ("ISIC2018/ISIC2018_Task1_Training_GroundTruth/*.png", "classes", [0, 255]),
    ],
)
def test_real_masks(shared_data: Path, pattern: str, kind: str, values: list[int]) -> None:
    counts = real(shared_data, pattern)
    labels = infer_labels(counts)
    assert (labels.kind, labels.values, labels.ignore_value) == (kind, values, None)
    file = next(iter(counts))
    raw = read_mask(file)
    nearest = np.abs(raw.astype(int)[..., None] - np.array(values)).argmin(axis=-1)  # independent of the thresholds
    np.testing.assert_array_equal(labels.encode(raw, file), nearest)


def test_real_glands_are_instances(shared_data: Path) -> None:
    counts = real(shared_data, "GlaS/*/testA_*_anno.png", 8)
    with pytest.raises(S2MNetError, match=r"testA_.*instance labels.*--labels binary"):
        infer_labels(counts)


def test_real_images_are_no_masks(shared_data: Path) -> None:
    counts = real(shared_data, "BUSI/*/benign/benign (1*).png")
    with pytest.raises(S2MNetError, match=r"benign.*grey-level image"):
        infer_labels({file: held for file, held in counts.items() if "_mask" not in file.name})
