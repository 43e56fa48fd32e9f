"""Parts of the text classifier: network, calibration, the trained model."""
