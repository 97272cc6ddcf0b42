"""Weights of a trained network for one that reads other channels or predicts other classes.

Both changes are linear: a matrix mixes the weights of the channels that the first layers read, or those of the outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from s2mnet.architecture import OURS, build_architecture
from s2mnet.data import LabelMap
from s2mnet.data.channels import COLOURS, GREY


class UnfitError(ValueError):
    """A weight has no counterpart, or one of another shape."""


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network with its weights and what they were trained on.

    Attributes:
        architecture, arguments: see :func:`s2mnet.architecture.build_architecture`.
        channels: names of the channels it reads.
        labels: what it predicts.
        state: its weights and buffers.
    """

    architecture: str
    arguments: Mapping[str, Any]
    channels: Sequence[str]
    labels: LabelMap
    state: Mapping[str, Tensor]

    def shapes(self, in_channels: int, num_outputs: int) -> dict[str, torch.Size]:
        """The shape of each weight of this network with other numbers of channels and outputs."""
        # Networks of MONAI cannot all be built without memory. Their random weights leave the training's own alone.
        device = torch.device("meta" if self.architecture == OURS else "cpu")
        with torch.random.fork_rng(devices=[]), device:
            network = build_architecture(self.architecture, in_channels, num_outputs, self.arguments)
        return {name: weight.shape for name, weight in network.state_dict().items()}


class Transfer:
    """How the weights of a trained network serve one of the same architecture, with other channels or classes.

    Args:
        start: the trained network.
        channels: names of the channels that the new network reads.
        labels: what it predicts.

    Attributes:
        channels: see :func:`channel_matrix`.
        classes: see :func:`class_matrix`; also None for a peer network with several last layers in a row, which cannot
            take a difference of two outputs.
    """

    def __init__(self, start: TrainedNetwork, channels: Sequence[str], labels: LabelMap) -> None:
        self.state = start.state
        old, new = (len(start.channels), start.labels.num_outputs), (len(channels), labels.num_outputs)
        # Layers are found by their shapes: they change with the number of channels, or of outputs.
        other = [now if now != before else before + 1 for before, now in zip(old, new, strict=True)]
        self.channels, self.classes = channel_matrix(start.channels, channels), class_matrix(start.labels, labels)
        self._first = {} if _is_identity(self.channels) else self._changed(start.shapes(other[0], old[1]))
        self._last = {} if _is_identity(self.classes) else self._changed(start.shapes(old[0], other[1]))
        in_a_row = any(len(dims) > 1 for dims in self._last.values())
        if self.classes is not None and in_a_row and not _is_selection(self.classes):
            self.classes = None

    def _changed(self, shapes: Mapping[str, torch.Size]) -> dict[str, list[int]]:
        """The dimensions of each weight in which it differs from ``shapes``, for weights that do."""
        changed = {
            name: [dim for dim, (one, two) in enumerate(zip(weight.shape, shapes[name], strict=True)) if one != two]
            for name, weight in self.state.items()
            if name in shapes
        }
        return {name: dims for name, dims in changed.items() if dims}

    def state_for(self, fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state of the new network.

        Args:
            fresh: its state before training, which layers keep that cannot be taken over.

        Raises:
            UnfitError: a weight of one network has no counterpart in the other, or one of another shape.
        """
        if strange := sorted(self.state.keys() ^ fresh.keys()):
            raise UnfitError(strange[0])
        return {name: self._weight(name, weight) for name, weight in fresh.items()}

    def _weight(self, name: str, fresh: Tensor) -> Tensor:
        weight, dims = self.state[name], self._first.get(name, [])
        if dims and dims != [1] and not _is_selection(self.channels):
            raise UnfitError(name)  # not a convolution over the image, such as an embedding of patches
        weight = _mixed(weight, self.channels, dims, name)
        if name in self._last:
            if self.classes is None:
                return fresh
            weight = _mixed(weight, self.classes, self._last[name], name)
        if weight.shape != fresh.shape:
            raise UnfitError(name)
        return weight


def channel_matrix(old: Sequence[str], new: Sequence[str]) -> Tensor:
    """How the weights for each new channel follow from those for the old channels.

    By name, if the two have a name in common: a channel that the network does not know then starts with zeros, which
    changes nothing until they are learned. Else by position, if they are equally many. Else each new channel gets the
    sum over the old ones, divided by the number of new ones: then equal channels, such as a grey image in three
    colours, give the same result as before. A single colour counts as grey.

    Returns:
        float64 (new, old).

    Example:
        >>> channel_matrix(["red", "green", "blue"], ["grey"]).tolist()
        [[1.0, 1.0, 1.0]]
        >>> channel_matrix(["t1", "t2"], ["t2", "flair"]).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    old, new = ([GREY] if len(names) == 1 and names[0] in COLOURS else names for names in (old, new))
    if set(old) & set(new):
        return _matrix([[theirs == ours for theirs in old] for ours in new])
    if len(old) == len(new):
        return torch.eye(len(new), dtype=torch.float64)
    return torch.full((len(new), len(old)), 1 / len(new), dtype=torch.float64)


def class_matrix(old: LabelMap, new: LabelMap) -> Tensor | None:
    """How the new outputs follow from the old ones, by the names of classes or regions; the background is the first.

    Of a softmax over several classes, one class against the background is the difference of their two logits.

    Returns:
        float64 (new, old); None if the network does not know a new class, or predicts it in another way.

    Example:
        >>> heart = LabelMap(kind="classes", values=[0, 1, 2], names=["background", "left", "right"])
        >>> class_matrix(heart, LabelMap(kind="classes", values=[0, 9], names=["other", "right"])).tolist()
        [[-1.0, 0.0, 1.0]]
    """
    theirs, ours = _outputs(old), _outputs(new)
    if old.exclusive == new.exclusive:
        rows: list[dict[str | None, float]] = [{name: 1.0} for name in ours]
    elif old.exclusive and not new.regions:
        rows = [{ours[0]: 1.0, None: -1.0}]
    else:
        return None
    named_once = all(len(set(names)) == labels.num_outputs for names, labels in ((theirs, old), (ours, new)))
    if not named_once or not all(row.keys() <= set(theirs) for row in rows):
        return None
    return _matrix([[row.get(name, 0.0) for name in theirs] for row in rows])


def _outputs(labels: LabelMap) -> list[str | None]:
    """The name of each output of the network; None is the background, whatever its name."""
    structures: list[str | None] = list(labels.structures)
    return [None, *structures] if labels.exclusive else structures


def _matrix(rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _is_identity(matrix: Tensor | None) -> bool:
    return matrix is not None and torch.equal(matrix, torch.eye(matrix.shape[1], dtype=matrix.dtype))


def _is_selection(matrix: Tensor) -> bool:
    """Whether each row takes one thing as it is."""
    return bool(((matrix == 0) | (matrix == 1)).all() and (matrix.sum(1) == 1).all())


def _mixed(weight: Tensor, matrix: Tensor, dims: Iterable[int], name: str) -> Tensor:
    """The weight with each of the dimensions multiplied by the matrix."""
    for dim in dims:
        if weight.shape[dim] != matrix.shape[1]:
            raise UnfitError(name)
        weight = torch.tensordot(matrix, weight.double(), ([1], [dim])).movedim(0, dim).to(weight.dtype)
    return weight
