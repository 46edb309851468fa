"""The WEAM method: word exchange, masking, losses, batches and the data set."""
