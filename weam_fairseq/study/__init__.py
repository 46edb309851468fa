"""weam-study: runs a grid of trainings that one config file describes."""
