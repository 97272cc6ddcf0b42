"""The whole network (SPEC 1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from s2mnet.network.decoder import ROUTINGS, BoundaryFocusedDecoderStage, PlainDecoderStage
from s2mnet.network.efficientnet import WIDTHS, efficientnet_stages
from s2mnet.network.heads import build_head
from s2mnet.network.hub import HubNetwork
from s2mnet.network.mixer import SpectralSelectiveTokenMixer
from s2mnet.network.mrf import MultiReceptiveFieldSE, conv_norm

ENCODERS = ("mrf", "lite0", "lite1")
BLOCKS = ("mrf_se", "conv")
DECODERS = ("bfd", "conv")
MIN_SIZE = 32


class S2MNet(
    HubNetwork,
    library_name="s2mnet",
    license="apache-2.0",
    tags=["image-segmentation", "medical"],
):
    """S2M-Net: five encoder stages of MRF-SE and SSTM, four boundary-focused decoder stages, one head (SPEC 1).

    Every row of the ablations in SPEC 3.2 is a value of one of the arguments: parts are chosen by name; a stage with 0
    frequencies has no mixer.

    With ``encoder="lite0"`` the stages are those of EfficientNet-Lite0, whose weights from ImageNet
    :func:`s2mnet.network.pretrained.load_imagenet` loads. Then an SSTM mixes each map on its way to the decoder and not
    between the stages, which keep the maps they were trained on. This network is ours.

    It is plain PyTorch; :func:`s2mnet.network.fast.accelerate` makes it train and predict faster.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the logits: 1 for one structure against background (sigmoid), the number of classes
            with background for exclusive classes (softmax), the number of regions for overlapping ones (sigmoid each).
        channels: width of the five stages, or of the maps that a pretrained encoder's 1×1 convolutions give the
            decoder; where it is the width of a stage already there is none.
        num_frequencies: K of the SSTM at each of the five stages; one number serves all five; 0 means no SSTM there.
        complex_filter: complex half-plane filters instead of real ones (SPEC 1.1).
        stem_channels: width of the full-resolution stem.
        block: of the encoder ``"mrf"``: ``"mrf_se"``, or ``"conv"``: a plain 3×3, BN, ELU instead (no MRF-SE).
        decoder: ``"bfd"``, or ``"conv"``: the plain U-Net stage instead (no BFD).
        routing: of the BFD: ``"soft"``, ``"hard"``, ``"learned"``, ``"none"``.
        head: ``"stem"`` (ours), ``"light"`` (paper) or ``"released"``.
        branch_scale: start value of the gain of each SSTM's LayerNorm: 0.1 (ours; it validates best), 1 (paper).
        dropout: probability in MRF-SE and SSTM.
        filter_start: the spectral filters before training, see :data:`s2mnet.network.spectral.STARTS`.
        encoder: ``"mrf"`` (paper), or ``"lite0"`` or ``"lite1"``: see :mod:`s2mnet.network.efficientnet`.

    Shape:
        x (B, in_channels, H, W) floating point, any H, W ≥ 32 → logits (B, num_classes, H, W). With
        ``return_boundaries=True`` also the list of β (B, 1, h, w) in [0, 1] of the decoder stages, deepest first
        (empty for ``decoder="conv"``, which has none).

    Raises:
        ValueError: an argument or an input is outside of these.

    Example:
        >>> import torch
        >>> model = S2MNet().eval()
        >>> logits, boundaries = model(torch.rand(1, 3, 64, 96), return_boundaries=True)
        >>> logits.shape, [tuple(b.shape[2:]) for b in boundaries]
        (torch.Size([1, 1, 64, 96]), [(4, 6), (8, 12), (16, 24), (32, 48)])
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1,
        channels: Sequence[int] = (24, 32, 64, 80, 128),
        num_frequencies: int | Sequence[int] = (32, 32, 32, 22, 11),
        complex_filter: bool = True,
        stem_channels: int = 16,
        block: str = "mrf_se",
        decoder: str = "bfd",
        routing: str = "soft",
        head: str = "stem",
        branch_scale: float = 0.1,
        dropout: float = 0.1,
        filter_start: str = "identity",
        encoder: str = "mrf",
    ) -> None:
        super().__init__()
        frequencies = (num_frequencies,) * 5 if isinstance(num_frequencies, int) else tuple(num_frequencies)
        if len(channels) != 5 or len(frequencies) != 5:
            raise ValueError(
                f"S2M-Net has five stages; found {len(channels)} channels and {len(frequencies)} num_frequencies. "
                "Give five of each (0 frequencies leave the mixer of a stage out)."
            )
        if in_channels < 1 or num_classes < 1:
            raise ValueError(f"in_channels and num_classes must be at least 1, found {in_channels} and {num_classes}")
        named = (("encoder", encoder, ENCODERS), ("block", block, BLOCKS), ("decoder", decoder, DECODERS),
                 ("routing", routing, ROUTINGS))  # fmt: skip
        for name, value, known in named:
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(map(repr, known))}")
        self.in_channels, self.num_classes, self.encoder = in_channels, num_classes, encoder

        def mixer(width: int, frequencies: int) -> list[nn.Module]:
            if not frequencies:
                return []
            return [
                SpectralSelectiveTokenMixer(
                    width,
                    frequencies,
                    complex_filter,
                    dropout=dropout,
                    branch_scale=branch_scale,
                    filter_start=filter_start,
                )
            ]

        def stage(inputs: int, outputs: int, frequencies: int) -> nn.Sequential:
            layers: list[nn.Module] = [conv_norm(inputs, outputs, 3, nn.ELU(inplace=True), stride=2)]
            layers += [MultiReceptiveFieldSE(outputs, dropout=dropout)] if block == "mrf_se" else []
            layers += [conv_norm(outputs, outputs, 3, nn.ELU(inplace=True))] if block == "conv" else []
            return nn.Sequential(*layers, *mixer(outputs, frequencies))

        def skip(inputs: int, outputs: int, frequencies: int) -> nn.Sequential:
            project = [] if inputs == outputs else [conv_norm(inputs, outputs, 1, nn.ELU(inplace=True))]
            return nn.Sequential(*project, *mixer(outputs, frequencies))

        def up(inputs: int, outputs: int) -> nn.Module:
            if decoder == "bfd":
                return BoundaryFocusedDecoderStage(inputs, outputs, outputs, routing)
            return PlainDecoderStage(inputs, outputs, outputs)

        self.stem = conv_norm(in_channels, stem_channels, 3, nn.ELU(inplace=True))
        if encoder == "mrf":
            widths = (stem_channels, *channels)
            self.stages = nn.ModuleList(stage(*args) for args in zip(widths, channels, frequencies, strict=False))
            self.skips = nn.ModuleList(nn.Sequential() for _ in channels)
        else:
            self.stages = nn.ModuleList(efficientnet_stages(in_channels, encoder))
            self.skips = nn.ModuleList(skip(*args) for args in zip(WIDTHS, channels, frequencies, strict=True))
        self.decoder = nn.ModuleList(
            up(deep, shallow) for deep, shallow in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        self.head = build_head(head, channels[0], stem_channels, num_classes)

    def forward(self, x: Tensor, return_boundaries: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"expected images (B, {self.in_channels}, H, W), found shape {tuple(x.shape)}")
        if not x.is_floating_point():
            raise ValueError(f"expected floating point images, found {x.dtype}; normalise them: (x / 255 - mean) / std")
        if x.shape[2] < MIN_SIZE or x.shape[3] < MIN_SIZE:
            raise ValueError(
                f"expected images of at least {MIN_SIZE}×{MIN_SIZE} pixels, found {x.shape[2]}×{x.shape[3]}; "
                "pad or resize them"
            )
        stem = self.stem(x)
        maps = self.encode(self.encoder_input(x, stem))
        features, boundaries = decode(maps, self.decoder)
        logits = self.head(features, stem)
        return (logits, boundaries) if return_boundaries else logits

    def encoder_input(self, image: Tensor, stem: Tensor) -> Tensor:
        """What the first stage reads: the stem's map, but the image if the encoder has a stem of its own."""
        return stem if self.encoder == "mrf" else image

    @property
    def mixers(self) -> list[SpectralSelectiveTokenMixer | None]:
        """The SSTM of each stage, None where there is none."""
        layers = ([*stage, *skip] for stage, skip in zip(self.stages, self.skips, strict=True))  # type: ignore[misc]
        return [
            next((layer for layer in stage if isinstance(layer, SpectralSelectiveTokenMixer)), None) for stage in layers
        ]

    def encode(self, x: Tensor, first: int = 0) -> list[Tensor]:
        """The five maps that the decoder reads, finest first, or those from stage ``first`` on."""
        maps = []
        for stage, skip in zip(self.stages[first:], self.skips[first:], strict=True):
            x = stage(x)
            maps.append(skip(x))
        return maps


def decode(maps: Sequence[Tensor], decoder: Iterable[nn.Module]) -> tuple[Tensor, list[Tensor]]:
    """Run decoder stages on the maps of the encoder, finest first; there may be fewer stages than maps to join.

    Returns:
        The features of the last decoder stage; the boundary maps β, deepest first.
    """
    features, boundaries = maps[-1], []
    for stage, skip in zip(decoder, maps[-2::-1], strict=False):
        features, boundary = stage(features, skip)
        boundaries += [] if boundary is None else [boundary]
    return features, boundaries
