"""Measurements against other programs: `python -m bench --help`, and `python -m bench.render` for drawing alone."""
