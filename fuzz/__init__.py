"""Fuzzing: readers of hostile bytes are given cases until one breaks what they promise. `make fuzz`; no tests here.

What was found is in docs/hostile.md, and each find is a test in tests/.
"""
