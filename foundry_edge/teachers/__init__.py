"""Importers of published teacher checkpoints belong here; there is none yet."""
