"""`python -m edge_runtime.cli`: the command without its script."""

from edge_runtime.cli.main import run

run()
