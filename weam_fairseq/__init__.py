"""WEAM as a fairseq plugin."""
