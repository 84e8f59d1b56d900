"""How fast cdl is, beside its peers and beside what the machine can do."""
