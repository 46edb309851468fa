"""weam-study: a grid of trainings from one config file, run once each, gone on with, and extended."""
