"""A data folder looked at before anything is trained on it: numbers, pictures and problems, worst first."""

from s2mnet.inspection.fingerprint import Fingerprint
from s2mnet.inspection.page import write_page
from s2mnet.inspection.problem import Problem
from s2mnet.inspection.run import inspect_folder
from s2mnet.inspection.screen import print_fingerprint

__all__ = ["Fingerprint", "Problem", "inspect_folder", "print_fingerprint", "write_page"]
