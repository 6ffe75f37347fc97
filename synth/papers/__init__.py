"""Published systems, reproduced: a recipe a paper, composed of the library's parts. Nothing imports these."""
