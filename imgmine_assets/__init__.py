"""The graph: thin assets over the functions of `imgmine`, one module for each stage, and the command line.

Assets know nothing of HTTP, S3 or pixels; those are behind `resources` and in `imgmine`.
"""
