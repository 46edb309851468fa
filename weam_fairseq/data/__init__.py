"""Reads a data-bin: its manifest, id spaces, layout and memory-mapped files."""
