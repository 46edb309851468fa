"""Tables and pages made from runs and their scores. Never imports fairseq."""
