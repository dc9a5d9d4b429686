"""The commands for one's own photos: `protect` and `evaluate`.

`arguments` has what they take and imports nothing slow, so that `--help` and a misspelt option are answered at once.
"""
