"""The files of a data folder: pairing, splits, decoding and the meaning of mask values."""

from s2mnet.data.cases import Case, ImageFolder, find_cases, find_images
from s2mnet.data.channels import select_channels
from s2mnet.data.dataset import Dataset
from s2mnet.data.images import IMAGE_SUFFIXES, read_image, read_mask, write_mask
from s2mnet.data.labels import IGNORE_INDEX, LabelMap, infer_labels
from s2mnet.data.pairs import load_case

__all__ = [
    "IGNORE_INDEX",
    "IMAGE_SUFFIXES",
    "Case",
    "Dataset",
    "ImageFolder",
    "LabelMap",
    "find_cases",
    "find_images",
    "infer_labels",
    "load_case",
    "read_image",
    "read_mask",
    "select_channels",
    "write_mask",
]
