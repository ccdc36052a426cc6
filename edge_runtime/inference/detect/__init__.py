"""Detectors: a canvas in, boxes out, boxes into slot states. `session.DetectSession` and `detector.Detector` are the doors."""
