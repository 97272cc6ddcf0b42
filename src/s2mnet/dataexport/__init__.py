"""Data folders in the layouts of other tools, so that these can be tried on the same images and splits."""

from s2mnet.dataexport.run import Exported, export_data

__all__ = ["Exported", "export_data"]
