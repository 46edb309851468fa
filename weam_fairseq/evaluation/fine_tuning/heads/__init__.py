"""Heads: how each kind of task becomes model inputs, a loss, and predictions. One file a kind."""
