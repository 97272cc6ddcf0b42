"""Volumes: read NIfTI and DICOM as stacks of slices, predict slice by slice, write NIfTI or DICOM."""

from s2mnet.volumes.dicom import write_dicom_seg
from s2mnet.volumes.nifti import write_nifti_mask
from s2mnet.volumes.predict import mask_stem, predict_volume
from s2mnet.volumes.read import is_volume, read_volume
from s2mnet.volumes.slices import to_uint8
from s2mnet.volumes.volume import Volume, check_same_grid

__all__ = [
    "Volume",
    "check_same_grid",
    "is_volume",
    "mask_stem",
    "predict_volume",
    "read_volume",
    "to_uint8",
    "write_dicom_seg",
    "write_nifti_mask",
]
