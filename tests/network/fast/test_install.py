"""What accelerate() installs, where, and that the network stays the same one."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch
from compiling import compiler, fast
from torch import Tensor, nn

from s2mnet.architecture import PeerNetwork
from s2mnet.device import PLAIN
from s2mnet.network import S2MNet, TruncatedSpectralFilter
from s2mnet.network.fast import accelerate, mrf_training, spectral_training
from s2mnet.network.fast.fused import compiler_found

SMALL = {"channels": (4, 4, 6, 6, 8), "stem_channels": 4, "num_frequencies": 4, "dropout": 0.0}
TRAINING = {"MRF-SE in chunks", "depthwise gradients", "spectral filters", "upsampling gradients", "dropout"}
PREDICTION = ["fused batch norms", "MRF-SE without concatenation", "frozen spectral filters"]


def kinds(network: nn.Module) -> list[type[nn.Module]]:
    return [type(part) for part in network.modules()]


def steps(y: Tensor) -> Counter[str]:
    """How often each kind of operation is in the graph of a result."""
    seen, left = set(), [y.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [following for following, _ in node.next_functions]
    return Counter(type(node).__name__.removesuffix("Backward") for node in seen)


def gradients(network: nn.Module, x: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(network(x).square().mean(), list(network.parameters())))


@pytest.fixture
def untouched_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: object) -> None:
        raise AssertionError("CUDA was initialised")

    monkeypatch.setattr(torch.cuda, "_lazy_init", touched)


@pytest.fixture
def plain_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLAIN, "1")


def test_training_forms_keep_the_network_and_its_keys() -> None:
    network = S2MNet(**SMALL)
    before = dict(network.named_parameters())
    keys = list(network.state_dict())
    accelerated = accelerate(network, "train")
    assert accelerated.network is network
    assert {name.partition(" in C++")[0].partition(" with")[0].partition(",")[0] for name in accelerated.installed} == (
        TRAINING
    )
    assert list(network.state_dict()) == keys
    assert all(parameter is before[name] for name, parameter in network.named_parameters())
    assert accelerate(network, "train").installed == accelerated.installed  # twice is once
    S2MNet(**SMALL).load_state_dict(network.state_dict())


@pytest.mark.parametrize("options", [{}, {"decoder": "conv"}, {"complex_filter": False}])
def test_it_trains_as_the_plain_network_does(
    options: dict[str, object], randomise: Callable[[nn.Module], nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mrf_training, "SMALL", 0)
    plain = randomise(S2MNet(**SMALL | options)).double()
    network = fast(copy.deepcopy(plain))
    optimisers = [torch.optim.SGD(one.parameters(), lr=0.01) for one in (plain, network)]
    x = torch.rand(2, 3, 40, 47, dtype=torch.float64)
    for one, optimiser in zip((plain, network), optimisers, strict=True):
        one(x).square().mean().backward()
        optimiser.step()
    for (name, expected), found in zip(plain.state_dict().items(), network.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9, msg=lambda text, name=name: name + text)


@compiler
def test_each_form_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    network = fast(S2MNet(**SMALL))
    x = torch.rand(2, 3, 96, 80).contiguous(memory_format=torch.channels_last)
    network.to(memory_format=torch.channels_last)
    monkeypatch.setattr(spectral_training, "WORTHWHILE", 0)
    found = steps(network(x))
    assert (found["_Chunked"], found["_FasterGradients"], found["_InCpp"]) == (0, 15, 5)
    monkeypatch.setattr(mrf_training, "SMALL", 0)
    found = steps(network(x))
    assert (found["_Chunked"], found["_FasterGradients"], found["_InCpp"]) == (5, 0, 5)
    plain = steps(S2MNet(**SMALL)(x))
    assert not plain.keys() & {"_Chunked", "_FasterGradients", "_InCpp"}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_accelerated_networks_can_be_copied(copied: Callable[[nn.Module], nn.Module]) -> None:
    network = fast(S2MNet(**SMALL))
    again = copied(network)
    assert kinds(again) == kinds(network)
    x = torch.rand(2, 3, 40, 33)
    for found, expected in zip(gradients(again, x), gradients(network, x), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.usefixtures("plain_switch")
def test_the_switch_leaves_plain_classes_only() -> None:
    network = S2MNet(**SMALL)
    before = kinds(network)
    accelerated = accelerate(network, "train", "cpu")
    assert accelerated.installed == [] and kinds(accelerated.network) == before
    assert not any(kind.__module__.startswith("s2mnet.network.fast") for kind in before)
    copied = accelerate(network, "predict")
    assert copied.installed == [] and kinds(copied.network) == before
    assert not copied.network.training and not any(p.requires_grad for p in copied.network.parameters())
    x = torch.rand(1, 3, 40, 33)
    assert torch.equal(copied.network(x), network.eval()(x))


@pytest.mark.usefixtures("untouched_cuda")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "meta", torch.device("xpu")])
def test_other_devices_train_in_plain_form_and_predict_in_their_own(device: torch.device | str) -> None:
    network = S2MNet(**SMALL)
    before = kinds(network)
    assert accelerate(network, "train", device).installed == [] and kinds(network) == before
    assert accelerate(network, "predict", device).installed == PREDICTION


def test_the_device_is_that_of_the_parameters() -> None:
    with torch.device("meta"):
        network = S2MNet(**SMALL)
    assert accelerate(network, "train").installed == []
    copied = accelerate(network, "predict")
    assert copied.installed == PREDICTION
    assert copied.network(torch.empty(1, 3, 40, 33, device="meta")).shape == (1, 1, 40, 33)


def test_a_network_of_another_kind_stays_as_it_is() -> None:
    peer = PeerNetwork("BasicUNet", 3, 1)
    before = kinds(peer)
    assert any(isinstance(part, nn.Dropout | nn.Conv2d) for part in peer.modules())
    assert accelerate(peer, "train", "cpu").installed == [] and kinds(peer) == before


@pytest.fixture(params=["_are_functorch_transforms_active", "_len_torch_dispatch_stack"])
def older_torch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delattr(torch._C, request.param)
    spectral_training.observation.cache_clear()
    yield
    spectral_training.observation.cache_clear()


@pytest.mark.usefixtures("older_torch")
def test_a_torch_without_its_private_functions_trains_by_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral_training, "WORTHWHILE", 0)
    plain = TruncatedSpectralFilter(3, 4)
    branch = copy.deepcopy(plain)
    assert accelerate(branch, "train").installed == ["spectral filters with kept tables"]
    x = torch.randn(2, 3, 9, 8)
    for found, expected in zip(gradients(branch, x), gradients(plain, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    spectral_training.observation.cache_clear()
    with_them_before = fast(copy.deepcopy(plain))  # in C++ where it has been installed earlier: stands aside
    assert not steps(with_them_before(x))["_InCpp"]


def test_without_a_compiler_nothing_is_promised_that_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not compiler_found()
    installed = accelerate(S2MNet(**SMALL), "train").installed
    assert "spectral filters with kept tables" in installed and "MRF-SE in chunks" in installed


def test_an_unknown_purpose_is_refused() -> None:
    with pytest.raises(ValueError, match="'test'; choose one of 'train', 'predict'"):
        accelerate(nn.Identity(), "test")
