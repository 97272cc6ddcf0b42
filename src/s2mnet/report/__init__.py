"""The report: one self-contained page from plain data and arrays, without training or prediction.

``content`` says what a report holds, ``figures`` and ``cases`` draw it, ``page`` fills ``report.html``, and ``run``
collects the content from a run folder.
"""
