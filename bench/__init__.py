"""Benchmarks: our work beside a peer and a floor, side by side in one run, so that every result is a ratio.

Here: what is measured and how. Not here: tests (nothing fails because it was slow), and the numbers that were kept
(`docs/speed.md`).
"""
