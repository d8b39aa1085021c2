"""From bytes to pictures: what a file is, the gate, stills of videos, previews, perceptual hashes.

Everything that decodes runs in worker processes (`decoder_pool`); nothing here knows of WARC records or of the store's
keys, but for `archive`, the stage.
"""
