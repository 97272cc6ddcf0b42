"""The report: one self-contained page from plain data and arrays, without training or prediction.

``content`` says what a report holds, ``figures`` draws it, ``cases``, ``results`` and ``training`` prepare the sections
of ``report.html``, ``page`` fills and writes it, and ``run`` collects the content from a run folder.
"""
