"""Reads a data-bin: its manifest, id spaces and memory-mapped files, and the layout of a batch."""
