"""weam-launch: runs a command as a job, on this machine or on Slurm, and records it in its run folder."""
