"""How good masks are: of one image (``metrics``), of many (``results``), of two folders (``folders``)."""
