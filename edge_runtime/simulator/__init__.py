"""A store that renders itself: shelf bays in three dimensions, cameras, light, shoppers, and the truth about all of it.

Runs beside the daemon as a network camera (`python -m edge_runtime.simulator serve`) and renders labelled field
datasets (`python -m edge_runtime.simulator dataset`). Never imported on a device.
"""
