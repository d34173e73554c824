"""Activation ranges, placement of Q/DQ pairs and calibration data for static INT8."""
