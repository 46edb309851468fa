"""WEAM itself: links to exchange, masking, losses, batches and the data set."""
