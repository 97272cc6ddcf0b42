"""The plan: decided from the folder, written, read back, refused where it makes no sense."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny import tiny_plan

from s2mnet import S2MNetError
from s2mnet.data import FolderSummary, LabelMap
from s2mnet.plan import MILD_AUGMENTATION, PAPER_AUGMENTATION, Plan, make_plan


def summary(height: int = 500, width: int = 600, thickness: float = 100.0, train: int = 40) -> FolderSummary:
    return FolderSummary(
        counts={"train": train, "val": 5, "test": 5},
        height=(height, height, height),
        width=(width, width, width),
        channels=3,
        label_map=LabelMap(kind="classes", values=[0, 255]),
        pixel_share=[0.9, 0.1],
        mean=[0.4, 0.3, 0.2],
        std=[0.2, 0.2, 0.1],
        foreground_share=0.1,
        thickness_px=thickness,
        split_rule="as given",
        warnings=[],
    )


def test_thin_foreground_is_seen_at_its_own_resolution() -> None:
    assert make_plan(summary(584, 565, thickness=4)).preprocessing.extent == "patches"
    assert make_plan(summary(584, 565, thickness=60)).preprocessing.extent == "whole"
    # A small image is not resized down, so nothing thin is lost.
    assert make_plan(summary(100, 100, thickness=2)).preprocessing.extent == "whole"
    assert make_plan(summary(thickness=4), extent="whole").preprocessing.extent == "whole"
    assert make_plan(summary(thickness=60), extent="patches").preprocessing.extent == "patches"


def test_whole_images_are_normalised_each_by_itself_except_by_the_paper() -> None:
    assert make_plan(summary()).preprocessing.normalisation == "image"
    assert make_plan(summary(thickness=4)).preprocessing.normalisation == "dataset"
    assert make_plan(summary(), preset="paper").preprocessing.normalisation == "dataset"


def test_every_own_decision_has_a_reason() -> None:
    reasons = make_plan(summary(thickness=4)).reasons
    assert any("4.0 px thick" in reason for reason in reasons)
    assert any("px: the default preset" in reason for reason in reasons)
    assert any("30 minutes" in reason for reason in reasons)
    assert make_plan(summary(), size=64, extent="patches", minutes=2).reasons == []
    assert any("normalised by itself" in reason for reason in make_plan(summary()).reasons)
    assert any("mild augmentation" in reason for reason in make_plan(summary()).reasons)
    assert make_plan(summary()).augmentation == MILD_AUGMENTATION
    assert make_plan(summary(thickness=4)).augmentation == make_plan(summary(), on_gpu=True).augmentation


def test_what_is_asked_for_is_done() -> None:
    plan = make_plan(
        summary(), size=96, minutes=7, lr=0.5, batch_size=3, seed=9, workers=2, precision="bf16", epochs=None
    )
    training = plan.training
    assert plan.preprocessing.size == (96, 96) and plan.preprocessing.mean == [0.4, 0.3, 0.2]
    assert (training.minutes, training.epochs, training.lr, training.batch_size) == (7, None, 0.5, 3)
    assert (training.seed, training.workers, training.precision) == (9, 2, "bf16")
    assert make_plan(summary(), epochs=3).training.minutes is None
    both = make_plan(summary(), epochs=3, minutes=4).training
    assert (both.epochs, both.minutes) == (3, 4)
    assert make_plan(summary()).training.minutes == 30


def test_the_paper_preset_is_the_table_of_spec_3() -> None:
    plan = make_plan(summary(), preset="paper")
    training, aug = plan.training, plan.augmentation
    assert plan.preprocessing.size == (352, 352) and plan.preprocessing.extent == "whole"
    assert (training.optimiser, training.lr, training.weight_decay, training.clip) == ("adam", 1e-4, 1e-4, 1.0)
    assert (training.epochs, training.patience, training.min_lr) == (150, 50, 1e-6)
    assert training.warmup * training.epochs == pytest.approx(10)
    assert training.batch_size == 8 and training.minutes is None and training.seed == 42
    assert training.repeats == 30 and make_plan(summary(train=1000), preset="paper").training.repeats == 1
    assert (aug.rotate_p, aug.rotate_degrees, aug.flip_p, aug.scale_shift_p) == (1.0, 180, 0.5, 0.7)
    assert (aug.elastic_alpha, aug.elastic_sigma, aug.elastic_p) == (1, 50, 0.3)
    assert (aug.brightness, aug.contrast, aug.light_p, aug.noise_p, aug.dropout_p) == (0.4, 0.4, 0.8, 0.5, 0.3)
    assert aug == PAPER_AUGMENTATION and plan.tta == 8 and plan.loss == "masl"
    vessels = make_plan(summary(584, 565, thickness=4), preset="paper")
    assert vessels.preprocessing.extent == "patches" and vessels.preprocessing.size == (256, 256)
    assert make_plan(summary(), preset="paper", epochs=2, minutes=3).training.epochs == 2


def test_small_sets_are_repeated_within_an_epoch() -> None:
    for train in (1, 8, 99, 800, 5000):
        repeats = make_plan(summary(train=train)).training.repeats
        assert repeats >= 1 and repeats * train >= 800 and (repeats - 1) * train < 800


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"size": 31}, "--size"), ({"epochs": 0}, "--epochs"), ({"minutes": -1}, "--minutes"),
        ({"minutes": 0}, "--minutes"), ({"batch_size": 0}, "--batch-size"), ({"lr": 0}, "--lr"),
        ({"workers": -1}, "--workers"), ({"precision": "16"}, "--precision"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused_by_name(options: dict[str, object], where: str) -> None:
    with pytest.raises(S2MNetError) as caught:
        make_plan(summary(), **options)  # type: ignore[arg-type]
    assert caught.value.where == where
    if where != "--size":
        with pytest.raises(S2MNetError) as caught:
            make_plan(summary()).with_training(**options)
        assert caught.value.where == where


def test_a_given_plan_takes_other_options() -> None:
    plan = make_plan(summary(), preset="paper")
    changed = plan.with_training(minutes=3, epochs=None, lr=0.01)
    assert (changed.training.minutes, changed.training.epochs, changed.training.lr) == (3, 150, 0.01)
    assert changed.with_training(minutes=None, lr=plan.training.lr).training.minutes == 3
    assert changed.preprocessing == plan.preprocessing and plan.training.lr == 1e-4


def test_written_and_read_back_it_is_the_same(tmp_path: Path, tiny_data: Path) -> None:
    for plan in (make_plan(summary()), make_plan(summary(thickness=4), preset="paper"), tiny_plan(tiny_data, epochs=1)):
        plan.save(tmp_path / "plan.yaml")
        assert Plan.load(tmp_path / "plan.yaml") == plan
    stored = yaml.safe_load((tmp_path / "plan.yaml").read_text())
    assert stored["preprocessing"]["size"] == [32, 32]


def test_a_plan_may_be_short(tmp_path: Path) -> None:
    text = "labels: {kind: classes, values: [0, 7]}\n" + (
        "preprocessing: {extent: whole, size: [64, 32], channels: 1, mean: [0.5], std: [0.2]}\ntraining: {epochs: 2}\n"
    )
    (tmp_path / "plan.yaml").write_text(text)
    plan = Plan.load(tmp_path / "plan.yaml")
    assert plan.training.epochs == 2 and plan.training.lr == 1e-3 and plan.preprocessing.size == (64, 32)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("training", "lrr", 1), "training.lrr"), (("training", "lr", -1), "training.lr"),
        (("preprocessing", "extent", "half"), "preprocessing.extent"), (("labels", "values", [0]), "labels.values"),
        (("training", "epochs", "many"), "training.epochs"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(tmp_path: Path, change: tuple[str, str, object], named: str) -> None:
    file = tmp_path / "plan.yaml"
    make_plan(summary()).save(file)
    stored = yaml.safe_load(file.read_text())
    section, key, value = change
    stored[section][key] = value
    file.write_text(yaml.safe_dump(stored))
    with pytest.raises(S2MNetError, match=named) as caught:
        Plan.load(file)
    assert caught.value.where == str(file)


def test_one_number_for_the_values_is_a_wrong_line_too(tmp_path: Path) -> None:
    stored = make_plan(summary()).model_dump(mode="json") | {"labels": {"kind": "classes", "values": 5}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(stored))
    with pytest.raises(S2MNetError, match=r"labels\.values"):
        Plan.load(tmp_path / "plan.yaml")


@pytest.mark.parametrize("content", [b"", b"a: [1", b"\xff\xfe\x00", b"[1, 2]", b"just words"], ids=repr)
def test_what_is_no_plan_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.yaml").write_bytes(content)
    with pytest.raises(S2MNetError, match=r"plan\.yaml"):
        Plan.load(tmp_path / "plan.yaml")
    with pytest.raises(S2MNetError, match=r"none\.yaml"):
        Plan.load(tmp_path / "none.yaml")


def test_nothing_can_be_put_into_a_plan_by_mistake() -> None:
    plan = make_plan(summary())
    with pytest.raises(ValueError):
        plan.training.lr = 3  # type: ignore[misc]
    with pytest.raises(ValueError):
        Plan.model_validate(plan.model_dump() | {"epoch": 3})
