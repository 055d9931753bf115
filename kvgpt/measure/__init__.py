"""Instruments: what the benchmarks measure with."""
