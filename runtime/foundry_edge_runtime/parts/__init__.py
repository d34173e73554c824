"""The part of every point of an object: seat, back, leg ..."""
