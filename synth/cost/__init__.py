"""What operators cost on FPGAs: a table that was measured, and a model that predicts the rest."""
