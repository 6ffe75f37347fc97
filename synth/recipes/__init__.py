"""How a family is synthesized: its recipes as data, what an operator costs under each, and which wins over all."""
