"""Between fairseq checkpoints and Hugging Face folders."""
