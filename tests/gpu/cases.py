"""What must work on a GPU. Run by ``test_gpu.py``, in a process in which ``pretend.cpp`` is preloaded."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pretend import pretend_gpu, read_back
from torch import Tensor, nn

from s2mnet import MASL, S2MNet
from s2mnet.loss.dice_ce import DiceCrossEntropy

pytestmark = pytest.mark.skipif("pretend" not in os.environ.get("LD_PRELOAD", ""), reason="run by test_gpu.py")
SMALL: dict[str, Any] = {"channels": (8, 8, 8, 8, 8), "num_frequencies": 4, "stem_channels": 8, "dropout": 0.0}


@pytest.fixture(autouse=True)
def _gpu(request: pytest.FixtureRequest) -> Iterator[None]:
    with pretend_gpu(kind=getattr(request, "param", "cuda")):
        yield


mps = pytest.mark.parametrize("_gpu", ["mps"], indirect=True)


def step(network: nn.Module, criterion: nn.Module, images: Tensor, target: Tensor, bf16: bool = False) -> Tensor:
    """Loss of one training step, all on the device of ``images``; gradients stay in the network."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        logits, boundaries = network(images, return_boundaries=True)
    assert {logits.device, *(beta.device for beta in boundaries)} == {images.device}
    loss = criterion(logits, target)
    loss.backward()
    assert all(p.grad is None or p.grad.device == images.device for p in network.parameters())
    optimiser = torch.optim.AdamW([*network.parameters(), *criterion.parameters()])
    optimiser.step()
    return loss


def batch(classes: int = 1, multilabel: bool = False) -> tuple[Tensor, Tensor]:
    """Two noisy images 48×64 and their masks with ignored pixels; the second without the last class."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 48, 64, generator=generator)
    target = torch.zeros(2, 48, 64, dtype=torch.long)
    for number in range(1, max(classes, 2)):
        target[: 3 - number, 8 * number : 8 * number + 7, 10:30] = number
    target[0, :4] = 255
    if multilabel:
        regions = torch.stack([(target >= number).long() for number in range(1, classes + 1)], 1)
        target = torch.where(target[:, None] == 255, 255, regions)
    return images, target


VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "real filters": {"complex_filter": False},
    "no sstm": {"num_frequencies": 0},
    "conv block": {"block": "conv"},
    "conv decoder": {"decoder": "conv"},
    "hard routing": {"routing": "hard"},
    "learned routing": {"routing": "learned"},
    "no routing": {"routing": "none"},
    "light head": {"head": "light"},
    "released head": {"head": "released"},
    "pretrained encoder": {"encoder": "lite0"},
}


@pytest.mark.parametrize("variant, bf16", [*((name, False) for name in VARIANTS), ("default", True)])
def test_a_training_step_of_every_variant(variant: str, bf16: bool) -> None:
    images, target = batch()
    here = S2MNet(**{**SMALL, **VARIANTS[variant]})
    there, criterion = copy.deepcopy(here).to("cuda"), MASL().to("cuda")
    there_loss = step(there, criterion, images.to("cuda"), target.to("cuda"), bf16)
    here_loss = step(here, MASL(), images, target)
    assert there_loss.item() == pytest.approx(here_loss.item(), rel=0.05 if bf16 else 1e-5)
    for (name, a), b in zip(here.named_parameters(), there.parameters(), strict=True):
        if not bf16 and a.grad is not None and b.grad is not None:
            assert torch.allclose(a.grad, b.grad.cpu(), rtol=1e-3, atol=1e-6), name


LOSSES: dict[str, tuple[int, bool, Any]] = {
    "fixed": (1, False, lambda: MASL(weighting="fixed")),
    "learned": (1, False, lambda: MASL(weighting="learned")),
    "uncertainty": (1, False, lambda: MASL(weighting="uncertainty")),
    "no limit": (1, False, lambda: MASL(pull_limit=None)),
    "no modulation": (1, False, lambda: MASL(modulation=False)),
    "two terms": (1, False, lambda: MASL(terms=("core", "bnd"))),
    "classes": (3, False, lambda: MASL(num_classes=3)),
    "regions": (2, True, lambda: MASL(num_classes=2, multilabel=True)),
    "dice and cross-entropy": (3, False, lambda: DiceCrossEntropy(num_classes=3)),
    "dice and cross-entropy of regions": (2, True, lambda: DiceCrossEntropy(num_classes=2, multilabel=True)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_and_weight_rule(name: str) -> None:
    classes, multilabel, build = LOSSES[name]
    images, target = batch(classes, multilabel)
    here = S2MNet(num_classes=classes, **SMALL)
    there, criterion = copy.deepcopy(here).to("cuda"), build().to("cuda")
    there_loss = step(there, criterion, images.to("cuda"), target.to("cuda"))
    assert there_loss.device.type == "cuda"
    assert there_loss.item() == pytest.approx(step(here, build(), images, target).item(), rel=1e-5)
    if hasattr(criterion, "project_"):
        criterion.project_()


@mps
@pytest.mark.parametrize("encoder", ["mrf", "lite0"])
def test_a_training_step_on_a_mac(encoder: str) -> None:
    images, target = batch()
    here = S2MNet(**SMALL, encoder=encoder)
    there, criterion = copy.deepcopy(here).to("mps"), MASL().to("mps")
    loss = step(there, criterion, images.to("mps"), target.to("mps"))
    assert loss.device.type == "mps"
    assert loss.item() == pytest.approx(step(here, MASL(), images, target).item(), rel=1e-5)


@mps
def test_training_and_prediction_on_a_mac(tmp_path: Path) -> None:
    from tiny import quiet, tiny_plan, write_data

    from s2mnet import Predictor
    from s2mnet.data import find_cases
    from s2mnet.plan import this_machine
    from s2mnet.training.run import train

    assert this_machine("mps", measure=False).gpu
    data = write_data(tmp_path / "data")
    train(find_cases(data), tiny_plan(data, epochs=1), tmp_path / "run", False, quiet(), device="mps")
    image = next((data / "test" / "images").iterdir())
    there = Predictor(tmp_path / "run", device="mps", engine="torch")
    assert next(there.network.parameters()).device.type == "mps"
    here = Predictor(tmp_path / "run", device="cpu", engine="torch")
    assert abs(there.predict(image).probabilities - here.predict(image).probabilities).max() < 1e-4


def _unchanged(_, bucket):  # type: ignore[no-untyped-def]  # DDP allows only its own annotations
    """The exchange of gradients of a single process."""
    exchanged = torch.futures.Future()
    exchanged.set_result(bucket.buffer())
    return exchanged


@pytest.mark.parametrize("encoder", ["mrf", "lite0"])
def test_a_training_step_of_one_of_several_processes(encoder: str) -> None:
    from torch.distributed import destroy_process_group, init_process_group
    from torch.nn.parallel import DistributedDataParallel
    from torch.testing._internal.distributed.fake_pg import FakeStore

    images, target = batch()
    here = S2MNet(**SMALL, encoder=encoder)
    network = copy.deepcopy(here).to("cuda")
    init_process_group("fake", store=FakeStore(), rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(network)
        wrapped.register_comm_hook(None, _unchanged)
        loss = step(wrapped, MASL().to("cuda"), images.to("cuda"), target.to("cuda"))
    finally:
        destroy_process_group()
    assert loss.item() == pytest.approx(step(here, MASL(), images, target).item(), rel=1e-5)
    for (name, a), b in zip(here.named_parameters(), network.parameters(), strict=True):
        if a.grad is not None:
            assert b.grad is not None and torch.allclose(a.grad, b.grad.cpu(), rtol=1e-3, atol=1e-6), name


def test_planning() -> None:
    from s2mnet.plan import this_machine

    machine = this_machine()
    assert machine.gpu and machine.memory == 12 * 2**30
    assert machine.speed is not None and machine.speed > 0


@pytest.mark.parametrize(
    "changes", [{}, {"precision": "bf16"}, {"extent": "patches"}, {"loss": "dice_ce", "loss_options": {}}]
)
def test_training_and_prediction(changes: dict[str, Any], tmp_path: Path) -> None:
    from tiny import quiet, tiny_plan, write_data

    from s2mnet import Predictor
    from s2mnet.data import find_cases
    from s2mnet.training.run import train

    data = write_data(tmp_path / "data")
    history = train(find_cases(data), tiny_plan(data, epochs=1, **changes), tmp_path / "run", False, quiet())
    assert history[-1]["val_dice"] >= 0
    image = next((data / "test" / "images").iterdir())
    there = Predictor(tmp_path / "run")
    assert next(there.network.parameters()).device.type == "cuda" and there.engine == "torch"
    prediction = there.predict(image, tta=8, boundary=True)
    here = Predictor(tmp_path / "run", device="cpu", engine="torch").predict(image, tta=8, boundary=True)
    assert abs(prediction.probabilities - here.probabilities).max() < 1e-4


def test_a_device_is_chosen_in_one_place() -> None:
    from s2mnet.device import choose_device
    from s2mnet.errors import S2MNetError

    assert choose_device() == choose_device("cuda") == torch.device("cuda", 0) and choose_device("cpu").type == "cpu"
    for missing in ("cuda:1", "mps", "tpu"):
        with pytest.raises(S2MNetError, match=f"device '{missing}' .* Choose cpu or cuda"):
            choose_device(missing)


def test_a_cpu_can_be_asked_for_beside_a_gpu(tmp_path: Path) -> None:
    from tiny import quiet, tiny_plan, write_data

    from s2mnet.data import find_cases
    from s2mnet.plan import this_machine
    from s2mnet.training.run import train

    assert not this_machine("cpu", measure=False).gpu
    data = write_data(tmp_path / "data")
    read_back.clear()
    train(find_cases(data), tiny_plan(data, epochs=1), tmp_path / "run", False, quiet(), device="cpu")
    assert not read_back


def test_engines_on_a_gpu() -> None:
    from s2mnet.engines import choose
    from s2mnet.errors import S2MNetError

    assert choose("auto", "auto") == choose("torch", "cuda") == ("torch", "cuda:0", None)
    assert choose("openvino", "auto").device == "cpu"
    with pytest.raises(S2MNetError, match="openvino does not run on cuda:0"):
        choose("openvino", "cuda")
