"""Which structure of an operator is the smallest on each device family: all of them measured, the table made of it."""
