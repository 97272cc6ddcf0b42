"""Pretraining on a corpus: what it learns, keeps, resumes, records, and gives to trainings that start from it."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from tiny import Cli, refused, write_data
from torch import Tensor

from s2mnet.data import find_cases
from s2mnet.device import multiplies_bf16
from s2mnet.errors import S2MNetError
from s2mnet.pretraining.corpus import read_corpus
from s2mnet.pretraining.loop import STATE, Budget, Pretraining, learning_rate
from s2mnet.pretraining.network import average_of, starting_network
from s2mnet.training.module import build_loss


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets of discs: colours with one structure, and grey with two classes; with names that modules cannot have."""
    root = tmp_path_factory.mktemp("corpus")
    for name, values, grey in (("keys", (0, 255), False), ("one.colour", (0, 255), False), ("two", (0, 1, 2), True)):
        made = write_data(root / "made" / name, values)
        for kind in ("images", "masks"):
            (root / name / kind).mkdir(parents=True)
            for file in made.glob(f"*/{kind}/*.png"):
                picture = Image.open(file)
                (picture.convert("L") if grey else picture).save(root / name / kind / file.name)
        classes = {value: "background" if index == 0 else f"disc {index}" for index, value in enumerate(values)}
        facts = {
            "name": name,
            "classes": classes,
            "licence": "CC BY 4.0",
            "citation": "A | B, 2020",
            "modality": "discs",
        }
        (root / name / "dataset.yaml").write_text(yaml.safe_dump(facts))
    shutil.rmtree(root / "made")
    return root


def pretraining(corpus: Path, folder: Path, seed: int = 1) -> Pretraining:
    return Pretraining(read_corpus(corpus, 32, seed, 2), folder, seed, 2)


def test_every_image_is_trained_on_or_held_out(corpus: Path) -> None:
    for source in read_corpus(corpus, 32, 1, 2):
        train, held_out = ({case.image for case in cases} for cases in (source.train, source.held_out))
        assert train and held_out and not train & held_out
        assert train | held_out == {case.image for case in find_cases(corpus / source.name).cases_of("all")}
        assert len(source.plan.preprocessing.channels) == 3


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    rates = [learning_rate(step, step / 2000, 1.0) for step in range(1, 2001)]
    assert np.all(np.diff(rates[:200]) > 0) and len(set(rates[200:1600])) == 1
    assert np.all(np.diff(rates[1601:]) < 0) and rates[-1] == 0


def test_a_budget_ends_at_the_first_of_both() -> None:
    assert Budget(steps=10, minutes=1).progress(5, 0.0) == 0.5
    assert Budget(steps=10, minutes=1).progress(1, 60.0) == 1.0
    assert Budget(minutes=2).progress(10**6, 30.0) == 0.25


def test_the_average_is_that_of_its_definition(corpus: Path, tmp_path: Path) -> None:
    network = pretraining(corpus, tmp_path).network
    average = average_of(network)
    name = "shared.stem.0.weight"
    expected = network.state_dict()[name].double().clone()
    for step in range(4):
        with torch.no_grad():
            network.shared.stem[0].weight.add_(1.0)
        average.update_parameters(network)
        current = network.state_dict()[name].double()
        keep = min(0.999, (1 + step) / (10 + step))
        expected = current if step == 0 else keep * expected + (1 - keep) * current
    torch.testing.assert_close(average.module.state_dict()[name].double(), expected, rtol=0, atol=1e-6)


def ends_as_the_whole(corpus: Path, folder: Path, budget: Budget, every: int) -> Pretraining:
    """Resume ``parts`` after its third step: it ends with the model of ``whole``."""
    again = pretraining(corpus, folder / "parts")
    again.resume()
    assert again.steps == 3
    again.run(budget, every=every, report=lambda record: None)
    models = [(folder / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert models[0] == models[1]
    return again


def test_interrupted_and_resumed_it_gives_the_same_weights(corpus: Path, tmp_path: Path) -> None:
    whole = pretraining(corpus, tmp_path / "whole")
    whole.run(Budget(steps=6), every=3, report=lambda record: None)
    parts = pretraining(corpus, tmp_path / "parts")
    with pytest.raises(_Stop):
        parts.run(Budget(steps=6), every=3, report=_stop_at(3))
    again = ends_as_the_whole(corpus, tmp_path, Budget(steps=6), every=3)
    untimed = [[{**record, "seconds": 0} for record in one.records] for one in (whole, again)]
    assert untimed[0] == untimed[1]


def test_a_batch_mixes_data_sets_and_its_loss_is_the_mean_over_its_images(corpus: Path, tmp_path: Path) -> None:
    sources = read_corpus(corpus, 32, 1, 8)
    training = Pretraining(sources, tmp_path, 1, 8)
    seen: list[Tensor] = []
    training.network.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    for module in training.network.modules():
        if isinstance(module, torch.nn.Dropout2d | torch.nn.Dropout):
            module.p = 0.0
    before = copy.deepcopy(training.network)
    loss = training._step(1e-3)
    (places,) = seen
    assert len(places) == 8 and len(places.unique()) > 1
    rng = np.random.default_rng([1, 0])
    assert rng.choice(3, size=8, p=training.chances).tolist() == places.tolist()
    images, masks = zip(*(training._draw(int(p), i, rng) for i, p in enumerate(places)), strict=True)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bf16("cpu")):
        maps = before.shared(torch.stack(images).contiguous(memory_format=torch.channels_last))
        each = [
            build_loss(sources[p].plan)(before.last[p](maps[i : i + 1]), masks[i][None])
            for i, p in enumerate(places.tolist())
        ]
    assert loss == pytest.approx(float(torch.stack(each).mean()), abs=2e-3)


def test_ctrl_c_keeps_the_last_step(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pretraining(corpus, tmp_path / "whole")
    whole.run(Budget(steps=5), every=5, report=lambda record: None)
    training, original = pretraining(corpus, tmp_path / "parts"), Pretraining._step

    def press(self: Pretraining, rate: float) -> float:
        if self.steps == 2:
            os.kill(os.getpid(), signal.SIGINT)  # in the middle of the third step
        return original(self, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "_step", press)
        with pytest.raises(KeyboardInterrupt):
            training.run(Budget(steps=5), every=5, report=lambda record: None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ends_as_the_whole(corpus, tmp_path, Budget(steps=5), every=5)


def test_the_model_is_that_of_the_best_measurement(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, dice, models = pretraining(corpus, tmp_path), iter([0.1, 0.9, 0.5]), []

    def measure(self: Pretraining) -> dict:
        self.records.append({"steps": self.steps, "mean_dice": next(dice)})
        return self.records[-1]

    monkeypatch.setattr(Pretraining, "_measure", measure)
    for steps in (1, 2, 3):
        training.run(Budget(steps=steps), every=1, report=lambda record: None)
        models.append((tmp_path / "model.safetensors").read_bytes())
    assert models[0] != models[1] == models[2]


class _Stop(Exception):
    pass


def _stop_at(steps: int) -> Callable[[dict], None]:
    """A report that ends the run, as a kill would, after the state of that step was written."""

    def report(record: dict) -> None:
        if record["steps"] > steps:
            raise _Stop

    return report


def test_what_it_learns_is_in_the_model_but_no_last_layer(corpus: Path, tmp_path: Path) -> None:
    training = pretraining(corpus, tmp_path)
    training.run(Budget(steps=4), every=4, report=lambda record: None)
    stored = load_file(tmp_path / "model.safetensors")
    averaged = training.average.module.shared.state_dict()
    assert stored.keys() - averaged.keys() == {"head.classify.weight", "head.classify.bias"}
    assert all(torch.equal(stored[name], averaged[name]) for name in averaged)
    assert not stored["head.classify.weight"].any()
    fresh = starting_network(pretraining(corpus, tmp_path / "fresh").average.module)
    assert not torch.equal(stored["stages.0.0.0.weight"], fresh.state_dict()["stages.0.0.0.weight"])


def test_the_loss_falls(corpus: Path, tmp_path: Path) -> None:
    training = pretraining(corpus, tmp_path)
    training.run(Budget(steps=60), every=20, report=lambda record: None)
    assert training.records[-1]["loss"] < 0.95 * training.records[0]["loss"]
    assert set(training.records[-1]["dice"]) == {"keys", "one.colour", "two"}


def test_the_command_writes_model_ledger_and_page_and_training_starts_from_it(
    corpus: Path, tiny_data: Path, tmp_path: Path, s2mnet: Cli
) -> None:
    model = tmp_path / "open"
    status, _, err = s2mnet(
        "pretrain", str(corpus), "-o", str(model), "--steps", "2", "--size", "32", "--batch-size", "2", "--every", "1"
    )
    assert status == 0, err
    ledger = (model / "LEDGER.md").read_text()
    content = hashlib.sha256()
    for image in sorted((corpus / "two" / "images").iterdir()):
        content.update(image.read_bytes() + (corpus / "two" / "masks" / image.name).read_bytes())
    assert content.hexdigest() in ledger and "CC BY 4.0" in ledger and "A \\| B, 2020" in ledger
    page = (model / "report.html").read_text()
    assert "one.colour" in page and "<svg" not in page and "data:image/svg" in page
    refused(s2mnet("predict", str(model), str(tiny_data / "test/images"), "-o", str(tmp_path / "out")), "--start")
    refused(s2mnet("pretrain", str(corpus), "-o", str(model), "--steps", "2"), "--resume")
    run = tmp_path / "run"
    status, _, err = s2mnet(
        "train",
        str(tiny_data),
        "-o",
        str(run),
        "--start",
        str(model),
        "--epochs",
        "1",
        "--size",
        "32",
        "--device",
        "cpu",
    )
    assert status == 0, err
    started = json.loads((run / "config.json").read_text())["s2mnet"]["started_from"]
    assert started == {"name": "open", "sha256": hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "0"], ["--steps 0", "is not above 0"]),
        ([], ["has no budget", "--minutes or --steps"]),
        (["--steps", "2", "--resume"], ["no pretraining to resume", "Start without --resume"]),
    ],
)
def test_bad_calls_are_refused(
    corpus: Path, tmp_path: Path, s2mnet: Cli, arguments: list[str], words: list[str]
) -> None:
    refused(s2mnet("pretrain", str(corpus), "-o", str(tmp_path / "out"), "--size", "32", *arguments), *words)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_folder_without_data_sets_is_refused(tiny_data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    refused(
        s2mnet("pretrain", str(tiny_data), "-o", str(tmp_path / "out"), "--steps", "2"),
        "holds no data folder with a dataset.yaml",
    )


def test_a_state_of_another_seed_or_a_cut_one_is_refused(corpus: Path, tmp_path: Path, s2mnet: Cli) -> None:
    training = pretraining(corpus, tmp_path)
    training.run(Budget(steps=1), every=1, report=lambda record: None)
    call = [
        "pretrain",
        str(corpus),
        "-o",
        str(tmp_path),
        "--steps",
        "2",
        "--size",
        "32",
        "--batch-size",
        "2",
        "--resume",
    ]
    refused(s2mnet(*call, "--seed", "2"), "is of another seed")
    state = tmp_path / STATE
    state.write_bytes(state.read_bytes()[:-100])
    refused(s2mnet(*call, "--seed", "1"), "is damaged", "Delete it")


def test_nothing_that_is_not_finite_is_written(corpus: Path, tmp_path: Path) -> None:
    training = pretraining(corpus, tmp_path)
    training.run(Budget(steps=1), every=1, report=lambda record: None)
    good = (tmp_path / STATE).read_bytes()
    with torch.no_grad():
        training.network.shared.stem[0].weight[0, 0, 0, 0] = torch.nan
    for write in (training.save, lambda: training.run(Budget(steps=2), every=1, report=lambda record: None)):
        with pytest.raises(S2MNetError, match=r"not a number.*Continue from the last good state with --resume"):
            write()
        assert (tmp_path / STATE).read_bytes() == good


def test_changed_data_are_another_corpus(corpus: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(corpus, tmp_path / "corpus")
    pretraining(changed, tmp_path / "model").save()
    image = min((changed / "two" / "images").iterdir())
    Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    with pytest.raises(S2MNetError, match="of another corpus"):
        pretraining(changed, tmp_path / "model").resume()


def test_images_of_a_patient_are_all_trained_on_or_all_held_out(corpus: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(corpus / "two", tmp_path / "corpus" / "two")
    names = sorted(file.name for file in (copied / "images").iterdir())
    rows = [f"{Path(name).stem},p{number // 2}" for number, name in enumerate(names)]
    (copied / "cases.csv").write_text("name,patient\n" + "\n".join(rows) + "\n")
    (source,) = read_corpus(tmp_path / "corpus", 32, 1, 2)
    train, held_out = ({case.facts.patient for case in cases} for cases in (source.train, source.held_out))
    assert train and held_out and not train & held_out


def test_a_set_with_other_channels_is_named(corpus: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(corpus / "two", tmp_path / "corpus" / "two")
    for image in list((copied / "images").iterdir()):
        planes = np.stack([np.asarray(Image.open(image))] * 2)
        image.unlink()
        tifffile.imwrite(image.with_suffix(".tif"), planes, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(S2MNetError, match=r"two has images of 2 channels.*move two out"):
        read_corpus(tmp_path / "corpus", 32, 1, 2)


def test_another_size_is_refused(corpus: Path, tmp_path: Path) -> None:
    pretraining(corpus, tmp_path).save()
    with pytest.raises(S2MNetError, match="of another size"):
        Pretraining(read_corpus(corpus, 64, 1, 2), tmp_path, 1, 2).resume()


def test_the_open_corpus_can_be_read(shared_data: Path) -> None:
    sources = read_corpus(shared_data / "open", 64, 1, 2)
    assert len(sources) == 30 and sum(len(source.train) + len(source.held_out) for source in sources) == 1002
    assert all(source.dataset.licence for source in sources)
