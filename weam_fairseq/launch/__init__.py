"""weam-launch: a command as a job, on this machine or on Slurm, with what it was in its run folder."""
