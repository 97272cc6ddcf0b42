"""The report: pictures and one self-contained page from plain data and arrays, without training or prediction.

`overlay` draws masks over images, `figures` the training curves and spectral filters, `content` says what a report
holds, `html` writes the page. Matplotlib is loaded only when a picture needs it.
"""

from __future__ import annotations
