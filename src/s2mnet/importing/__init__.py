"""Importing data from the layouts of other tools as data folders."""

from s2mnet.importing.layouts import LAYOUTS
from s2mnet.importing.run import Imported, import_data

__all__ = ["LAYOUTS", "Imported", "import_data"]
