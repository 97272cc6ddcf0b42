"""The plan: decided from the folder, written, read back, refused where it makes no sense."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_plan

from s2mnet import S2MNet, S2MNetError
from s2mnet.data import Dataset, LabelMap
from s2mnet.device import multiplies_bf16
from s2mnet.fingerprint import Fingerprint
from s2mnet.fingerprint.record import Channel, Sides, Spread
from s2mnet.network.mixer import SpectralSelectiveTokenMixer
from s2mnet.plan import (
    MILD_AUGMENTATION,
    PAPER_AUGMENTATION,
    Augmentation,
    Machine,
    Plan,
    Preprocessing,
    Preset,
    make_plan,
    this_machine,
)
from s2mnet.plan.commented import to_yaml
from s2mnet.plan.machine import bytes_per_pixel


def fingerprint(
    height: int | Spread = 500, width: int | Spread = 600, thickness: float = 100.0, train: int = 40,
    mean: tuple[float, ...] = (0.4, 0.3, 0.2), std: tuple[float, ...] = (0.2, 0.2, 0.1), **other: Any,
) -> Fingerprint:  # fmt: skip
    facts: dict[str, Any] = dict(
        name="polyps",
        counts={"train": train, "val": 5, "test": 5},
        height=height if isinstance(height, Spread) else Spread.of([height]),
        width=width if isinstance(width, Spread) else Spread.of([width]),
        channels=3,
        intensity=[Channel(mean=m, std=s, percentiles={}) for m, s in zip(mean, std, strict=True)],
        label_map=LabelMap(kind="classes", values=[0, 255]),
        foreground_share=0.1,
        thickness_px=thickness,
        thinnest="polyp",
        split_rule="as given",
    )
    return Fingerprint(**facts | other)


def side_for(minutes: float, megapixels: float, train: int = 700, **other: Any) -> int:
    machine = Machine(speed=megapixels * 1e6, **other)
    return make_plan(fingerprint(train=train), minutes=minutes, machine=machine).preprocessing.size[0]


def test_a_larger_budget_trains_on_larger_images() -> None:
    sides = [side_for(minutes, 0.5) for minutes in range(1, 120)]
    assert sides == sorted(sides) and set(sides) == {128, 192, 256}
    assert side_for(60, 0.05) < side_for(60, 0.5)  # a slower machine
    assert side_for(60, 0.5, train=50_000) == 128  # too many images to visit
    assert make_plan(fingerprint(), epochs=50, machine=Machine(speed=1e9)).preprocessing.size == (128, 128)
    assert make_plan(fingerprint(), minutes=60, size=160, machine=Machine(speed=5e5)).preprocessing.size == (160, 160)
    assert side_for(1000, 0.5, gpu=True) == 256


@pytest.mark.parametrize(("height", "width"), [(150, 120), (200, 250)])
def test_images_are_not_enlarged_for_a_large_budget(height: int, width: int) -> None:
    machine = Machine(speed=1e7)
    assert make_plan(fingerprint(height, width), minutes=60, machine=machine).preprocessing.size[0] <= max(
        height, width
    )


def test_structures_of_one_size_in_images_of_all_sizes_are_seen_at_their_own_resolution() -> None:
    spread = Spread(minimum=40, median=60, maximum=1000)
    plan = make_plan(fingerprint(height=spread, width=spread, thickness=20, growth=(-0.1, 0.2)))
    assert plan.preprocessing.extent == "patches" and "from 40 to 1000 px" in plan.reasons["extent"]
    for growth in ((0.8, 1.2), (-2.0, 2.0), None):
        plan = make_plan(fingerprint(height=spread, width=spread, thickness=20, growth=growth))
        assert plan.preprocessing.extent == "whole"


def test_thin_foreground_is_seen_at_its_own_resolution() -> None:
    assert make_plan(fingerprint(584, 565, thickness=4)).preprocessing.extent == "patches"
    assert make_plan(fingerprint(584, 565, thickness=60)).preprocessing.extent == "whole"
    # A small image is not resized down, so nothing thin is lost.
    assert make_plan(fingerprint(100, 100, thickness=2)).preprocessing.extent == "whole"
    assert make_plan(fingerprint(128, 300, thickness=1)).preprocessing.extent == "whole"
    assert make_plan(fingerprint(129, 300, thickness=1)).preprocessing.extent == "patches"
    # 2.5 px in the resized image are enough: 2.5 · 600 / 128.
    assert make_plan(fingerprint(thickness=11.71875)).preprocessing.extent == "whole"
    assert make_plan(fingerprint(thickness=11.7)).preprocessing.extent == "patches"
    assert make_plan(fingerprint(thickness=4), extent="whole").preprocessing.extent == "whole"
    assert make_plan(fingerprint(thickness=60), extent="patches").preprocessing.extent == "patches"


def test_whole_images_are_normalised_each_by_itself_except_by_the_paper() -> None:
    assert make_plan(fingerprint()).preprocessing.normalisation == "image"
    assert make_plan(fingerprint(thickness=4)).preprocessing.normalisation == "dataset"
    assert make_plan(fingerprint(), preset="paper").preprocessing.normalisation == "dataset"


def test_every_decision_has_a_reason() -> None:
    decided = {"extent", "size", "channels", "normalisation", "augmentation", "head", "batch_size", "steps", "tta"}
    plan = make_plan(fingerprint(thickness=4, label_rule="two labels"), machine=Machine(speed=1e6))
    assert plan.reasons.keys() >= decided | {"labels", "minutes"}
    assert "4.0 px thick" in plan.reasons["extent"] and "0.9 px thick after resizing" in plan.reasons["extent"]
    asked = make_plan(fingerprint(), size=64, extent="patches", minutes=2).reasons
    assert asked["extent"].endswith("requested") and asked["size"].endswith("requested") and "minutes" not in asked


def test_the_green_channel_is_taken_where_thin_structures_stand_out_in_it() -> None:
    vessels = fingerprint(584, 565, thickness=4, contrast=[0.1, 0.5, 0.3])
    planned = make_plan(vessels).preprocessing
    assert (planned.channels, planned.clahe, planned.normalisation) == (["green"], True, "dataset")
    assert planned.mean == [0.3] and planned.std == [0.2]
    assert make_plan(vessels, preset="paper").preprocessing.clahe
    barely = fingerprint(584, 565, thickness=4, contrast=[0.1, 0.335, 0.3])
    assert make_plan(barely).preprocessing.channels == ["green"]  # by more than a tenth
    even = fingerprint(584, 565, thickness=4, contrast=[0.1, 0.325, 0.3])
    compact = fingerprint(584, 565, thickness=100, contrast=[0.1, 0.5, 0.3])
    for other in (even, compact):
        assert make_plan(other).preprocessing.channels == ["red", "green", "blue"]
        assert not make_plan(other).preprocessing.clahe
    known = vessels.model_copy(update={"dataset": Dataset(modality="Fundus photography"), "contrast": [0.1, 0.2, 0.3]})
    assert make_plan(known).preprocessing.clahe
    other = vessels.model_copy(update={"dataset": Dataset(modality="histopathology")})
    assert not make_plan(other).preprocessing.clahe
    grey = make_plan(fingerprint(channels=1, mean=(0.5,), std=(0.1,), contrast=[0.7])).preprocessing
    assert grey.channels == ["grey"]


def test_channels_with_names_are_kept_in_their_order() -> None:
    names = [f"{sequence} {place}" for sequence in ("flair", "t1") for place in ("below", "here", "above")]
    dataset = Dataset(channels=names, neighbours=1)
    facts = fingerprint(channels=6, stored=names, dataset=dataset, mean=(0.1,) * 6, std=(0.2,) * 6)
    planned = make_plan(facts, preset="paper").preprocessing
    assert planned.channels == planned.stored == names and planned.neighbours == 1 and planned.mean == [0.1] * 6


def test_a_short_budget_for_whole_images_gets_mild_changes() -> None:
    mild, strong = make_plan(fingerprint()), make_plan(fingerprint(), machine=Machine(gpu=True))
    assert mild.augmentation == MILD_AUGMENTATION and strong.augmentation == Augmentation()
    # 40 images of 128² in 30 minutes: 0.1 megapixels a second are 275 visits of each, 0.03 are 82.
    for speed, expected in ((1e5, Augmentation()), (3e4, MILD_AUGMENTATION)):
        assert make_plan(fingerprint(), machine=Machine(speed=speed)).augmentation == expected
    assert make_plan(fingerprint(thickness=4), machine=Machine(speed=1e3)).augmentation == Augmentation()
    assert make_plan(fingerprint(train=800), epochs=99).augmentation == MILD_AUGMENTATION
    assert make_plan(fingerprint(train=800), epochs=100).augmentation == Augmentation()


def test_the_steps_follow_from_time_and_speed() -> None:
    machine = Machine(speed=8 * 128 * 128 * 2.0)  # two steps a second
    plan = make_plan(fingerprint(), minutes=10, size=128, machine=machine)
    assert plan.reasons["steps"].startswith("about 1,200 of 8, 240 visits")
    assert "steps" not in make_plan(fingerprint(), minutes=10).reasons


@pytest.mark.parametrize(("gibibytes", "expected"), [(64, 8), (9, 6), (3, 2), (0.1, 1)])
def test_the_batch_fits_half_of_the_memory(gibibytes: float, expected: int) -> None:
    machine = Machine(memory=int(gibibytes * 2**30))
    assert make_plan(fingerprint(), size=352, machine=machine).training.batch_size == expected
    assert make_plan(fingerprint(), size=352, machine=machine, batch_size=7).training.batch_size == 7


def test_the_batch_gets_smaller_with_many_classes() -> None:
    labels = LabelMap(kind="classes", values=list(range(101)))
    machine = Machine(memory=8 * 2**30)
    plan = make_plan(fingerprint(label_map=labels), machine=machine)
    assert make_plan(fingerprint(), machine=machine).training.batch_size == 8 and plan.training.batch_size == 8
    plan = make_plan(fingerprint(label_map=labels), size=256, machine=machine)
    assert plan.training.batch_size == 3 and "a step needs about 3.6 of 8 GiB" in plan.reasons["batch_size"]


STEP = """
import sys, torch
from pathlib import Path
from s2mnet import MASL, S2MNet

def kilobytes(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1])

outputs = int(sys.argv[1])
network, criterion = S2MNet(num_classes=outputs), MASL(num_classes=outputs)

def step(count, side):
    logits = network(torch.rand(count, 3, side, side).contiguous(memory_format=torch.channels_last))
    criterion(logits, torch.randint(0, outputs, (count, side, side))).backward()

step(2, 32)
before = kilobytes("VmRSS")
step(2, 128)
print((kilobytes("VmHWM") - before) * 1024 / (2 * 128**2))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured on Linux")
@pytest.mark.parametrize("outputs", [3, 60])
def test_a_step_takes_the_memory_that_is_planned(outputs: int) -> None:
    done = subprocess.run([sys.executable, "-c", STEP, str(outputs)], capture_output=True, text=True, check=True)
    assert 0.7 * bytes_per_pixel(outputs) < float(done.stdout) < 1.15 * bytes_per_pixel(outputs)


def test_a_plan_does_not_test_with_flips_that_training_leaves_out(tmp_path: Path) -> None:
    plan = make_plan(fingerprint(sides=[Sides(first="right", second="left", axis="columns", masks=9)]))
    assert plan.tta == 1 and plan.augmentation.flip_axes == ["rows"]
    plan.save(tmp_path / "plan.yaml")
    text = (tmp_path / "plan.yaml").read_text()
    (tmp_path / "plan.yaml").write_text(text.replace("tta: 1", "tta: 4"))
    with pytest.raises(S2MNetError, match="tta 4 mirrors along both axes"):
        Plan.load(tmp_path / "plan.yaml")


def test_a_gpu_gets_larger_batches_and_processes_that_load() -> None:
    training = make_plan(fingerprint(), machine=Machine(gpu=True, memory=80 * 2**30, workers=6)).training
    assert training.batch_size == 16 and training.workers == 6
    for gpu, size in ((True, 256), (False, 128)):
        for extent in ("whole", "patches"):
            planned = make_plan(fingerprint(), extent=extent, machine=Machine(gpu=gpu))  # type: ignore[arg-type]
            assert planned.preprocessing.size == (size, size)


def test_this_machine_is_what_the_system_says() -> None:
    machine = this_machine(measure=False)
    assert machine.speed is None and 1 <= machine.workers <= (os.cpu_count() or 1)
    if not machine.gpu and hasattr(os, "sysconf"):
        assert 0 < machine.memory < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_processor_multiplies_bf16_if_it_says_so() -> None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next(line for line in lines if line.startswith("flags")).split()
    except (OSError, StopIteration):
        pytest.skip("the system does not say what the processor can do")
    assert multiplies_bf16("cpu") == bool({"amx_bf16", "avx512_bf16"} & set(flags))


def test_what_is_asked_for_is_done() -> None:
    plan = make_plan(
        fingerprint(), size=96, minutes=7, lr=0.5, batch_size=3, seed=9, workers=2, precision="bf16", epochs=None
    )
    training = plan.training
    assert plan.preprocessing.size == (96, 96) and plan.preprocessing.mean == []
    assert make_plan(fingerprint(), preset="paper").preprocessing.mean == [0.4, 0.3, 0.2]
    assert (training.minutes, training.epochs, training.lr, training.batch_size) == (7, None, 0.5, 3)
    assert (training.seed, training.workers, training.precision) == (9, 2, "bf16")
    assert make_plan(fingerprint(), epochs=3).training.minutes is None
    both = make_plan(fingerprint(), epochs=3, minutes=4).training
    assert (both.epochs, both.minutes) == (3, 4)
    assert make_plan(fingerprint()).training.minutes == 30


def test_the_paper_preset_is_the_table_of_spec_3() -> None:
    plan = make_plan(fingerprint(), preset="paper")
    training, aug = plan.training, plan.augmentation
    assert plan.preprocessing.size == (352, 352) and plan.preprocessing.extent == "whole"
    assert (training.optimiser, training.lr, training.weight_decay, training.clip) == ("adam", 1e-4, 1e-4, 1.0)
    assert (training.epochs, training.patience, training.min_lr) == (150, 50, 1e-6)
    assert training.warmup * training.epochs == pytest.approx(10)
    assert training.batch_size == 8 and training.minutes is None and training.seed == 42
    assert training.repeats == 30 and make_plan(fingerprint(train=100), preset="paper").training.repeats == 1
    assert make_plan(fingerprint(train=99), preset="paper").training.repeats == 30
    assert (aug.rotate_p, aug.rotate_degrees, aug.flip_p, aug.scale_shift_p) == (1.0, 180, 0.5, 0.7)
    assert (aug.elastic_alpha, aug.elastic_sigma, aug.elastic_p) == (1, 50, 0.3)
    assert (aug.brightness, aug.contrast, aug.light_p, aug.noise_p, aug.dropout_p) == (0.4, 0.4, 0.8, 0.5, 0.3)
    assert aug == PAPER_AUGMENTATION and plan.tta == 8 and plan.loss == "masl"
    vessels = make_plan(fingerprint(584, 565, thickness=4), preset="paper")
    assert vessels.preprocessing.extent == "patches" and vessels.preprocessing.size == (256, 256)
    assert vessels.training.stride == 32 and vessels.training.repeats == 1 and training.stride == 0
    assert make_plan(fingerprint(), preset="paper", epochs=2, minutes=3).training.epochs == 2


@pytest.mark.parametrize(("preset", "gain"), [("default", 0.1), ("paper", 1.0)])
def test_sstm_starts_at_a_tenth_and_in_the_papers_form_at_one(preset: Preset, gain: float) -> None:
    network = S2MNet(**make_plan(fingerprint(), preset=preset).network)
    mixers = [part for part in network.modules() if isinstance(part, SpectralSelectiveTokenMixer)]
    assert len(mixers) == 5 and all(mixer.norm.weight.eq(gain).all() for mixer in mixers)


def test_small_sets_are_repeated_within_an_epoch() -> None:
    for train in (1, 8, 99, 800, 5000):
        repeats = make_plan(fingerprint(train=train)).training.repeats
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
        make_plan(fingerprint(), **options)  # type: ignore[arg-type]
    assert caught.value.where == where
    if where != "--size":
        with pytest.raises(S2MNetError) as caught:
            make_plan(fingerprint()).with_training(**options)
        assert caught.value.where == where


def test_a_given_plan_takes_other_options() -> None:
    plan = make_plan(fingerprint(), preset="paper")
    changed = plan.with_training(minutes=3, epochs=None, lr=0.01)
    assert (changed.training.minutes, changed.training.epochs, changed.training.lr) == (3, 150, 0.01)
    assert changed.with_training(minutes=None, lr=plan.training.lr).training.minutes == 3
    assert changed.preprocessing == plan.preprocessing and plan.training.lr == 1e-4


def test_what_a_given_plan_is_changed_to_takes_its_reason_away() -> None:
    plan = make_plan(fingerprint(), machine=Machine(gpu=True, workers=6, speed=1e6))
    assert "no budget" in plan.reasons["minutes"] and "steps" in plan.reasons
    changed = plan.with_training(minutes=1.0, lr=0.01, workers=None)
    assert changed.reasons["minutes"] == "1.0: requested" and "lr" not in changed.reasons
    kept = plan.reasons.keys() - {"minutes", "steps"}
    assert {"workers", "batch_size", "size"} <= kept and changed.reasons.keys() == kept | {"minutes"}
    assert all(changed.reasons[what] == plan.reasons[what] for what in kept)
    same = plan.with_training(minutes=30)  # the plan's own value, but now somebody wants it
    assert same.reasons["minutes"].endswith("requested")
    for field in ("epochs", "steps", "repeats", "batch_size"):
        assert "steps" not in plan.with_training(**{field: 3}).reasons
    assert plan.with_training(seed=7, minutes=None).reasons == plan.reasons
    assert "no budget" in plan.reasons["minutes"]  # the plan itself is not changed


def test_written_and_read_back_it_is_the_same(tmp_path: Path, tiny_data: Path) -> None:
    for plan in (
        make_plan(fingerprint()),
        make_plan(fingerprint(thickness=4), preset="paper"),
        tiny_plan(tiny_data, epochs=1),
    ):
        plan.save(tmp_path / "plan.yaml")
        assert Plan.load(tmp_path / "plan.yaml") == plan
    text = (tmp_path / "plan.yaml").read_text()
    assert yaml.safe_load(text)["preprocessing"]["size"] == [32, 32]
    for section in (Preprocessing, Augmentation, type(plan.training)):
        for name, field in section.model_fields.items():  # every field with its sentence, beside or above it
            sentence = re.escape(str(field.description))
            assert re.search(rf"^  {name}: .*  # {sentence}$|# {sentence}\n  {name}:", text, re.M)
    assert max(map(len, text.splitlines())) <= 120


@given(
    st.dictionaries(
        st.text(min_size=1), st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=4
    )
)
def test_any_words_survive_the_writing(options: dict[str, Any]) -> None:
    reasons = {key: str(value) for key, value in options.items()}
    plan = make_plan(fingerprint()).model_copy(update={"reasons": reasons, "loss_options": options})
    assert Plan.model_validate(yaml.safe_load(to_yaml(plan))) == plan


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
    make_plan(fingerprint()).save(file)
    stored = yaml.safe_load(file.read_text())
    section, key, value = change
    stored[section][key] = value
    file.write_text(yaml.safe_dump(stored))
    with pytest.raises(S2MNetError, match=named) as caught:
        Plan.load(file)
    assert caught.value.where == str(file)


def test_one_number_for_the_values_is_a_wrong_line_too(tmp_path: Path) -> None:
    stored = make_plan(fingerprint()).model_dump(mode="json") | {"labels": {"kind": "classes", "values": 5}}
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
    plan = make_plan(fingerprint())
    with pytest.raises(ValueError):
        plan.training.lr = 3  # type: ignore[misc]
    with pytest.raises(ValueError):
        Plan.model_validate(plan.model_dump() | {"epoch": 3})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": ["green", "infrared"]}, "infrared"), ({"channels": []}, "at least 1"),
        ({"channels": ["green"]}, "one number"), ({"channels": ["t1"], "stored": ["flair", "t2"]}, "flair, t2"),
    ],
)  # fmt: skip
def test_channels_that_do_not_exist_or_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    base = dict(extent="whole", size=(32, 32), mean=[0.1, 0.2, 0.3], std=[1, 1, 1])
    with pytest.raises(ValueError, match=message):
        Preprocessing.model_validate(base | fields)
    assert Preprocessing.model_validate(base | {"channels": 3}).channels == ["red", "green", "blue"]
    assert Preprocessing.model_validate(base | {"channels": ["green"], "normalisation": "image"}).channels == ["green"]
