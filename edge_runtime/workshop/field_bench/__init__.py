"""The field bench: one model over a labelled field dataset, raw and normalized, and what other preprocessing does to it.

Needs nothing that a device does not have. `dataset` and `run` read and infer; `counts`, `calibration` and `table` are
pure; `page`, `svg` and `pictures` make the report.
"""
