"""DICOM files and series as volumes, masks as DICOM. The extras pydicom and highdicom are imported when needed."""

from s2mnet.volumes.dicom.files import dicom_files, is_dicom, visible_files
from s2mnet.volumes.dicom.reader import read_dicom
from s2mnet.volumes.dicom.segmentation import check_dicom_seg, write_dicom_seg

__all__ = ["check_dicom_seg", "dicom_files", "is_dicom", "read_dicom", "visible_files", "write_dicom_seg"]
