"""Which releases and files of a model repository this device trusts: The Update Framework, driven with care for the disk.

`updater.Updater` is the door. `rules` is the only file here that knows python-tuf, and it is imported on first use.
"""
