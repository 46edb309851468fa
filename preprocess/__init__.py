"""Raw sentence pairs to a fairseq data-bin with links between subword pieces (see preprocess/README.md)."""
