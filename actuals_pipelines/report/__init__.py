"""Figures, lists and exports for people: from the state of a close to tables and sentences; rendered by the caller.

Every function takes a close's rows: the schema that `reconcile.close.State.rows` describes.
"""
