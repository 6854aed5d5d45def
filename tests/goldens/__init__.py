"""Goldens: what the command line writes and prints for some hundred calls, to compare two versions of the code.

`python -m tests.goldens record FOLDER` in each version, then `python -m tests.goldens compare FOLDER_A FOLDER_B`.
A change made on purpose is declared in `comparing`; what a changed configuration is called now, in `cases`.
"""
