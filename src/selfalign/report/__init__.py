"""What people read about a run. Reads the journal and the store, writes nothing else."""
