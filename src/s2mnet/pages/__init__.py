"""What every HTML page is made of: a base template with macros, embedded pictures and Matplotlib figures.

A page is one file that loads nothing and runs no script. Its own template is next to the module that fills it.
"""
