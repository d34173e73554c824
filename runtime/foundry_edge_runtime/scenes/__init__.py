"""Scenes of any number of points as one sequence of groups, in bounded memory."""
