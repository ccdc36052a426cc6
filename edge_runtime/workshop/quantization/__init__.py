"""float32 to int8: calibration, the choice of a method by measurement, and what must stay float. Off the device."""
