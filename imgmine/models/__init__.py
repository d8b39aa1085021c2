"""Models: what turns pictures into vectors and vectors into scores, each with its card.

A model is a folder with an ONNX file and a card; where vectors and scores are kept is the store's business.
"""
