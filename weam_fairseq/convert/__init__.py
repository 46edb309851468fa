"""Converts between fairseq checkpoints and Hugging Face folders."""
