"""Segment images with a model that `s2mnet export RUN --to onnx -o OUT` wrote; s2mnet itself is not needed.

    pip install onnxruntime numpy pillow
    python client.py OUT/model.onnx photo.jpg mask.png
    python client.py OUT/model.onnx IMAGES MASKS          # a folder of images

Images are 8-bit grey or colour files. The mask is a PNG of the image's size with the label values of the training
masks. Other code calls `load` once and `segment` for each image.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def load(model: str) -> onnxruntime.InferenceSession:
    """The model, ready for images of any size."""
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def segment(model: onnxruntime.InferenceSession, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float32 (outputs, H, W) and the mask (H, W) in label values of a uint8 image (H, W, C)."""
    probabilities, mask = model.run(["probabilities", "mask"], {"image": image})
    return probabilities, mask


def read(path: Path) -> np.ndarray:
    """A file as uint8 (H, W, 3), upright; grey becomes three equal channels."""
    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            sys.exit(f"{path} has more than 8 bits. Convert it to 8 bits, as s2mnet does: percentiles 0.5 and 99.5.")
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def main(model_file: str, source: str, target: str) -> None:
    model = load(model_file)
    names = json.loads(model.get_modelmeta().custom_metadata_map["s2mnet.labels"])
    many = Path(source).is_dir()
    for path in sorted(Path(source).iterdir()) if many else [Path(source)]:
        _, mask = segment(model, read(path))
        output = Path(target, f"{path.stem}.png") if many else Path(target)
        output.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(output)
        values, counts = np.unique(mask, return_counts=True)
        shares = (f"{names[str(v)]} {100 * n / mask.size:.1f} %" for v, n in zip(values, counts, strict=True))
        print(f"{output}: {', '.join(shares)}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
