"""The known layouts, and which of them a folder has."""

from __future__ import annotations

from pathlib import Path

from s2mnet.errors import S2MNetError
from s2mnet.importing import coco, cvat, dicomseries, labelme, nnunet, objects, paired, voc, yolo
from s2mnet.importing.content import Layout
from s2mnet.text import listed

DESCRIBED = (
    Layout("nnunet", "a raw data set of nnU-Net or the Medical Segmentation Decathlon", nnunet.fits, nnunet.read),
    Layout("coco", "COCO json", coco.fits, coco.read),
    Layout("labelme", "labelme json", labelme.fits, labelme.read),
    Layout("yolo", "YOLO polygons", yolo.fits, yolo.read),
    Layout("cvat", "CVAT for images 1.1", cvat.fits, cvat.read),
    Layout("voc", "masks with the colours of labelmap.txt (Pascal VOC)", voc.fits, voc.read),
    Layout("dicom", "DICOM series with labels", dicomseries.fits, dicomseries.read),
)
"""Layouts that a file of the tool, or an unmistakable name, announces."""
ARRANGED = (
    Layout("folders", "images and masks in folders of equal structure", paired.folders_fit, paired.read_folders),
    Layout("suffix", "images and masks side by side, told apart by their names", paired.names_fit, paired.read_names),
    Layout("objects", "one folder for each image, one mask file for each object", objects.fits, objects.read),
)
"""Layouts that only the names of images and masks show. They count where none of the others fits."""
LAYOUTS = {layout.name: layout for layout in (*DESCRIBED, *ARRANGED)}

OWN_FILES = ("dataset.yaml", "dataset.yml", "cases.csv")
_SEE = "docs/sources.md shows each layout."


def find_layout(root: Path, name: str = "") -> Layout:
    """The layout of a folder.

    Args:
        root: the folder.
        name: of the layout to take it for; "" finds out.

    Raises:
        S2MNetError: an unknown name; none or several layouts fit.
    """
    if name:
        if name not in LAYOUTS:
            raise S2MNetError(f"--as {name}", "is not a layout", f"Choose one of {listed(sorted(LAYOUTS))}.")
        return LAYOUTS[name]
    own = next((file for file in OWN_FILES if (root / file).is_file() and not (root / nnunet.FILE).is_file()), None)
    if own:
        problem = f"is a data folder already: it has a {own}"
        raise S2MNetError(root, problem, "Use it as it is, or copy it as another layout with --as.")
    fitting = [layout for layout in DESCRIBED if layout.fits(root)]
    fitting = fitting or [layout for layout in ARRANGED if layout.fits(root)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        titles = listed([f"{layout.title} ({layout.name})" for layout in fitting])
        fix = f"Say which with {' or '.join(f'--as {layout.name}' for layout in fitting)}."
        raise S2MNetError(root, f"can be read in {len(fitting)} ways: {titles}", fix)
    fix = f"List images and masks in a table and use --pairs TABLE. {_SEE} `s2mnet datasets` lists public sets."
    raise S2MNetError(root, "has none of the known layouts", fix)


def inner_folder(root: Path) -> Path:
    """The folder itself, or the one within that an archive wrapped around all files.

    Raises:
        S2MNetError: no such folder, or an empty one.
    """
    if not root.is_dir():
        problem = "is a file, not a folder" if root.exists() else "does not exist"
        raise S2MNetError(root, problem, "Unpack it if it is an archive." if root.exists() else "Check the path.")
    while True:
        inside = [entry for entry in root.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
        if not inside:
            raise S2MNetError(root, "is an empty folder", "Choose the folder that holds the images.")
        if len(inside) > 1 or not inside[0].is_dir():
            return root
        root = inside[0]
