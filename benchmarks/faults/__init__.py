"""Fault campaigns: what is done to a device on purpose, and in how many of the tried points it held.

Every module here has `campaign(quick: bool) -> Iterable[Row]`; `python -m benchmarks.faults` runs them and writes the
table. A fast slice of each runs in the tests.
"""
