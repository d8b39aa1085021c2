"""Take-down: files out of every listing at once, then out of every shard, table and release, and the proof of it.

`names` finds the files that a person named, `archive` and `released` take them out of what is stored, `scan` looks for
what is left, `applying` does all of it and `report` says what was done. The log of what was decided is
`imgmine.dataset.takedown_log`.
"""
