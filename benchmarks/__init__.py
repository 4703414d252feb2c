"""Benchmarks, each beside its results file."""
