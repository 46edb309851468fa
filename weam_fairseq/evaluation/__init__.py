"""From Hugging Face folders to scores. Never imports fairseq."""
