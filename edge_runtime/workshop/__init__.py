"""Off the device: crops from labelled pictures, a scikit-learn head, one merged graph, int8, calibration, a bundle.

The only room that knows onnx, skl2onnx and scikit-learn. Deep-learning frameworks stay in the recipes (`models/`).
"""
