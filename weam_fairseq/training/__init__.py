"""weam-train: the command line, the config file, several processes, and signals."""
