"""Accuracy against cost: which formats, for a network and a budget."""
