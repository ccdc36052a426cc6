"""Angle, light and resolution against the commissioned view; or why a frame can not be used.

`view.Normalizer` is the room's door; `view.RawNormalizer` is the same door without any normalization (the "before").
"""
