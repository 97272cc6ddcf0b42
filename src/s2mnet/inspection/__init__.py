"""A fingerprint shown to people: on the screen and as a page."""

from s2mnet.inspection.page import write_page
from s2mnet.inspection.screen import print_fingerprint

__all__ = ["print_fingerprint", "write_page"]
