"""The flags of the verbs, a file per group of verbs. To declare them imports nothing that a verb runs.

Imports that one verb alone needs for its choices are inside its function.
"""
