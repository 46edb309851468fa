"""Fine-tuning: a pretrained folder with a new head, trained once, and its predictions for every language."""
