"""DICOM files and series as volumes. pydicom, an extra, is imported when the first file is read."""

from s2mnet.volumes.dicom.files import is_dicom
from s2mnet.volumes.dicom.reader import read_dicom

__all__ = ["is_dicom", "read_dicom"]
