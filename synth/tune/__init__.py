"""Which structure of an operator is the best on each device family: all of them measured, the table made of it."""
