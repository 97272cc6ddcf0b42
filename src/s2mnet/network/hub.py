"""A network that is saved, loaded and pushed in the way of Hugging Face, and keeps what its ``config.json`` says."""

from __future__ import annotations

from typing import Any

from huggingface_hub import PyTorchModelHubMixin
from torch import nn


class HubNetwork(nn.Module, PyTorchModelHubMixin):
    """A network whose ``save_pretrained`` and ``push_to_hub`` write every section of the ``config.json`` it came from.

    The mixin itself keeps only the arguments of the network. ``s2mnet train`` adds what prediction needs.
    """

    @classmethod
    def _from_pretrained(cls, *, config: dict[str, Any] | None = None, **options: Any) -> HubNetwork:
        # The mixin passes `config`, the content of the file, because this method has an argument of that name.
        network: HubNetwork = super()._from_pretrained(**options)
        sections = {key: value for key, value in (config or {}).items() if key not in cls._hub_mixin_init_parameters}
        network._hub_mixin_config = {**(network._hub_mixin_config or {}), **sections}  # type: ignore[dict-item]
        return network
