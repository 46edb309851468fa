"""Metrics of the benchmarks: plain values in, numbers 0–100 out. No model, no torch, no files."""
