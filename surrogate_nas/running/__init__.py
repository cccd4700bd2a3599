"""Studies: created, run, shared by workers, resumed."""
