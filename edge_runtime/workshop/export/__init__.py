"""From a scikit-learn estimator or an ONNX file to one checked graph that takes slot crops, with a receipt."""
