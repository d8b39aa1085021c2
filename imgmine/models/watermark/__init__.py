"""Watermarks: marks drawn over photographs, views of a picture that show them, and the classifiers that find them."""
