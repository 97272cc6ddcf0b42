"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

DataFolder = Annotated[
    Path, Argument(help="DATA/{images,masks} with matching file names, or DATA/{train,val,test}/{images,masks}.")
]
Labels = Annotated[
    Literal["auto", "binary", "threshold", "classes"],
    Option(help="Meaning of masks. binary: above 0 is foreground; threshold: above 127; classes: values are classes."),
]
PresetOption = Annotated[
    Literal["default", "paper"] | None,
    Option(help="Training recipe. default: for a small time budget; paper: the authors'. Default: default."),
]
Minutes = Annotated[
    float | None, Option(help="Time budget for training; the learning rate follows it. Default: 30, without --epochs.")
]
Epochs = Annotated[
    int | None, Option(help="Number of epochs. Without --minutes, a run on a CPU is exactly repeatable.")
]
Start = Annotated[
    str | None,
    Option(
        help="First weights: none (random), imagenet, a run or model folder, or a Hugging Face repository (user/model)."
        " Default: imagenet, none for the paper preset."
    ),
]
Tta = Annotated[
    int | None, Option(help="Number of test-time transforms to average: 1, 4 or 8. Default: stored with the model.")
]
Engine = Annotated[
    Literal["auto", "torch", "openvino"],
    Option(help="Inference engine. auto: a GPU if there is one, else OpenVINO if installed, else PyTorch."),
]
Device = Annotated[
    str, Option(help="Where to compute: auto, cpu, cuda, cuda:1, mps. auto: a CUDA GPU if there is one, else the CPU.")
]
PrecisionOption = Annotated[
    Literal["float32", "bf16"],
    Option("--precision", help="Arithmetic of the network. bf16 is faster on processors that support it."),
]
