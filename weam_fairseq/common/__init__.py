"""Shared helpers that every package may import. They import no other package of weam_fairseq."""
