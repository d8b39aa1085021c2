"""Releases: numbered, immutable datasets that a recipe chooses from what was mined.

`recipe` says what is wanted and `inputs` what it is chosen from; `selection` chooses, `gathering` reads the pictures,
`packing` writes the shards, `making` does all of it and puts it into the store. `release` is what a release consists
of, `diff`, `card`, `croissant` and `exports` what is told of it.
"""
