"""What ``python -m synth bench`` measures: our speed beside that of others, in one process, on one tensor."""
