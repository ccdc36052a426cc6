"""edge-runtime: shelf cameras that stay right in the store."""

import os

__version__ = "0.1.0"

# onnxruntime 1.29 and newer report every process and model to their maker, over the network, unless this is set before
# they are loaded. What a store's device sees is its owner's business alone.
os.putenv("ORT_DISABLE_TELEMETRY", "1")
