"""What a training starts from: random weights, the shipped ImageNet encoder, or a trained model."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2mnet.architecture import OURS, PeerNetwork, architecture_of
from s2mnet.errors import S2MNetError
from s2mnet.modelfolder import WEIGHTS, StartedFrom, find_model, load_model
from s2mnet.network import S2MNet
from s2mnet.network.pretrained import SHIPPED, imagenet_checksum, load_imagenet
from s2mnet.plan import IMAGENET, IMAGENET_NETWORK, NO_START, Plan
from s2mnet.text import listed
from s2mnet.training.transfer import TrainedNetwork, Transfer, UnfitError

# Trained models that come with the package, by name. None: reserved, not shipped yet.
SHIPPED_MODELS: dict[str, Path | None] = {"open": None}


@dataclass(frozen=True, eq=False)
class ModelStart:
    """The weights of a model folder.

    Attributes:
        record: what the run's ``config.json`` says about it.
        trained: the network with its weights.
    """

    record: StartedFrom
    trained: TrainedNetwork

    def network_of(self, plan: Plan, made: bool) -> Plan:
        """The plan with the network of the model, see :func:`with_network_of_start`, and with what is taken of it."""
        reasons, architecture, arguments = plan.reasons, plan.architecture, plan.network
        if made:
            reasons = {what: why for what, why in reasons.items() if what not in arguments}
            architecture, arguments = self.trained.architecture, {}
        if architecture == self.trained.architecture:  # fill refuses another
            arguments = {**self.trained.arguments, **arguments}
        reasons = {**reasons, "start": f"{plan.start}: {self._explain(plan)}"}
        # The normalisation stays that of the new data. The first layer expects inputs of mean 0 and deviation 1; with
        # the mean and deviation of the old images, those of another camera or scanner would not be that.
        return plan.model_copy(update={"reasons": reasons, "architecture": architecture, "network": arguments})

    def _explain(self, plan: Plan) -> str:
        old, new = self.trained, plan.preprocessing.channels
        transfer = self._transfer(plan)
        first = [f"the first layer adapted from {listed(old.channels)} to {listed(new)}"] * (old.channels != new)
        theirs, ours = listed(list(old.labels.structures)), listed(list(plan.labels.structures))
        last = [f"a new last layer, as it predicts {theirs} and the masks hold {ours}"] * (transfer.classes is None)
        return f"its weights, with {listed(first + last)}" if first + last else "all its weights"

    def fill(self, network: S2MNet | PeerNetwork, plan: Plan) -> StartedFrom:
        """Give the network of the plan the weights, in place.

        Raises:
            S2MNetError: the two networks differ in more than their channels and classes.
        """
        try:
            network.load_state_dict(self._transfer(plan).state_for(network.state_dict()))
        except UnfitError as error:
            raise self._unfit(plan, error) from None
        return self.record

    def _transfer(self, plan: Plan) -> Transfer:
        try:
            return Transfer(self.trained, plan.preprocessing.channels, plan.labels)
        except (TypeError, ValueError) as error:  # a network of MONAI that takes only some numbers of channels
            raise self._unfit(plan, error) from None

    def _unfit(self, plan: Plan, reason: Exception) -> S2MNetError:
        theirs = _settings(self.trained.architecture, self.trained.arguments)
        ours = _settings(plan.architecture, plan.network)
        names = [name for name in theirs | ours if theirs.get(name) != ours.get(name)]
        where = f"The start {plan.start}"
        if not names:
            problem = f"has weights that do not fit {len(plan.preprocessing.channels)} channels ({reason})"
            fix = f"Use images with the channels {listed(list(self.trained.channels))}, or --start {NO_START}."
            return S2MNetError(where, problem, fix)
        names = ["architecture"] if "architecture" in names else names
        (old, new) = (", ".join(f"{name} {_value(side.get(name))}" for name in names) for side in (theirs, ours))
        section = "in the plan" if names == ["architecture"] else "under network in the plan"
        fix = f"Omit --plan, or give {listed(names)} {section} the value of the start."
        return S2MNetError(where, f"has {old}; the plan has {new}", fix)


class ImageNetStart:
    """The shipped weights of the encoder, trained on ImageNet; the rest of the network is random."""

    def network_of(self, plan: Plan, made: bool) -> Plan:
        """The plan with the encoder of the weights, see :func:`with_network_of_start`."""
        needed = IMAGENET_NETWORK if plan.architecture == OURS else {}
        return plan.model_copy(update={"network": {**needed, **plan.network}})

    def fill(self, network: S2MNet | PeerNetwork, plan: Plan) -> StartedFrom:
        """Give the encoder of the network the weights, in place.

        Raises:
            S2MNetError: it has another encoder.
        """
        encoder = str(network.encoder) if isinstance(network, S2MNet) else ""
        if encoder not in SHIPPED or not isinstance(network, S2MNet):
            had = f"encoder {encoder}" if encoder else f"architecture {plan.architecture}"
            how = f"Set encoder: {next(iter(SHIPPED))} under network in the plan" if encoder else "Omit --plan"
            problem = f"has weights for the encoder {listed(list(SHIPPED))}; the plan has {had}"
            raise S2MNetError(f"The start {IMAGENET}", problem, f"{how}, or use --start {NO_START}.")
        load_imagenet(network)
        return StartedFrom(name=IMAGENET, sha256=imagenet_checksum(encoder))


def read_start(name: str, run: Path | None = None) -> ModelStart | ImageNetStart | None:
    """The weights that ``--start`` names.

    Args:
        name: "none" (gives None), "imagenet", the name of a shipped model, a run or model folder, or the name of a
            repository on the Hugging Face Hub. Names of our own come first; ``./none`` is a folder in any case.
        run: the run folder that is trained.

    Raises:
        S2MNetError: there is nothing of that name, a file of it is damaged or holds NaN, or it is the run itself.
    """
    if name == NO_START:
        return None
    if name == IMAGENET:
        return ImageNetStart()
    shipped = SHIPPED_MODELS.get(name)
    if name in SHIPPED_MODELS and shipped is None:
        problem = "cannot be used: no such weights are shipped with this version"
        raise S2MNetError(f"--start {name}", problem, f"Use {IMAGENET}, {NO_START}, or a run folder.")
    folder = shipped or find_model(name)
    if not folder.is_dir():
        problem = f"is neither {NO_START} nor {IMAGENET}, nor a folder with a model"
        raise S2MNetError(f"--start {name}", problem, "Pass a run folder, or a repository such as user/model.")
    if run and run.is_dir() and folder.samefile(run):
        problem = "is the folder of the run itself, whose model would be replaced"
        raise S2MNetError(f"--start {name}", problem, "Choose another folder with -o.")
    network, config = load_model(folder)
    architecture, arguments = architecture_of(network)
    known = name in SHIPPED_MODELS or not Path(name).exists()  # else without the path, which is nobody else's business
    record = StartedFrom(
        name=name if known else folder.resolve().name,
        sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
    )
    trained = TrainedNetwork(
        architecture, arguments, config.preprocessing.channels, config.labels, network.state_dict()
    )
    return ModelStart(record, trained)


def with_network_of_start(plan: Plan, made: bool, run: Path | None = None) -> Plan:
    """The plan with the network of its start, and with what is taken of a model as the reason.

    Args:
        plan: names the start.
        made: whether the plan was made for this training: then the start decides on the network. In a plan of the user,
            the arguments of the network that it sets stay, and the start fills in the others.
        run: the run folder that is trained.

    Raises:
        S2MNetError: see :func:`read_start`.
    """
    start = read_start(plan.start, run)
    return start.network_of(plan, made) if start else plan


def _settings(architecture: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Architecture and arguments as JSON values, with the defaults of our network."""
    own = inspect.signature(S2MNet).parameters if architecture == OURS else {}
    defaults = {name: field.default for name, field in own.items() if name not in ("in_channels", "num_classes")}
    settings: dict[str, Any] = json.loads(json.dumps({"architecture": architecture, **defaults, **arguments}))
    return settings


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)
