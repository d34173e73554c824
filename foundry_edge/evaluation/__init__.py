"""How good features are: fidelity to the teacher, linear probes."""
