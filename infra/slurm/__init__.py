"""A Slurm cluster of two nodes on one machine, run by one ordinary user, to try Slurm jobs for real."""
