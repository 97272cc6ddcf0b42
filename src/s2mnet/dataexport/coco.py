"""A data folder as COCO json, with an object for each connected part of a class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.data import IGNORE_INDEX, ImageFolder, LabelMap, load_case
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically, write_png
from s2mnet.progress import Progress


def write(folder: ImageFolder, labels: LabelMap, output: Path, progress: Progress) -> list[str]:
    """Write ``images/SPLIT`` and ``annotations/instances_SPLIT.json``; masks are run lengths, ids of classes indices.

    Returns:
        Sentences on what COCO cannot hold.

    Raises:
        S2MNetError: pycocotools is not installed, or an image or mask cannot be read or is not grey or RGB.
    """
    try:
        from pycocotools import mask as codec
    except ImportError:
        problem = "cannot be written: pycocotools, which encodes masks, is not installed"
        raise S2MNetError(output.name, problem, "Install it: pip install 's2mnet[import]'.") from None
    from skimage.measure import label

    categories = [{"id": index, "name": name} for index, name in enumerate(labels.names) if index]
    total, done, ignored = len(folder.cases_of("all")), 0, 0
    for split, cases in folder.splits.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, case in enumerate(cases, start=1):
            pixels, mask = load_case(case, labels)
            if pixels.ndim == 3 and pixels.shape[2] != 3:
                problem = f"has {pixels.shape[2]} channels; COCO has grey and RGB images"
                raise S2MNetError(case.image, problem, "Use --as nnunet.")
            name = f"{case.name}.png"
            write_png(output / "images" / split / name, pixels)
            images.append({"id": number, "file_name": name, "height": mask.shape[0], "width": mask.shape[1]})
            ignored += bool((mask == IGNORE_INDEX).any())
            for value in range(1, labels.num_classes):
                parts, count = label(mask == value, return_num=True)
                for part in range(1, count + 1):
                    runs = codec.encode(np.asfortranarray(parts == part, dtype=np.uint8))
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": number,
                            "category_id": value,
                            "segmentation": {"size": list(mask.shape), "counts": runs["counts"].decode()},
                            "area": int(codec.area(runs)),
                            "bbox": codec.toBbox(runs).tolist(),
                            "iscrowd": 0,
                        }
                    )
            done += 1
            progress(done, total)
        if cases:
            content = {"images": images, "annotations": annotations, "categories": categories}
            file = output / "annotations" / f"instances_{split}.json"
            write_atomically(file, json.dumps(content, ensure_ascii=False).encode())
    notes = [f"{ignored} images have pixels without a truth; in COCO they are background."] if ignored else []
    return notes + (["Regions are left out; COCO has the classes they are made of."] if labels.regions else [])
