"""Detectors: what tells usual vectors from odd ones. Each is fitted to rows, scores rows, and is stored as arrays.

How rows are dealt and scores are calibrated, alike for all of them, is in `anomaly_fit`.
"""
