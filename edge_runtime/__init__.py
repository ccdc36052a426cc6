"""edge-runtime: shelf cameras that stay right in the store."""

__version__ = "0.1.0"
