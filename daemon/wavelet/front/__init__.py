"""The doors. They translate between a protocol and plans, and do nothing else."""
