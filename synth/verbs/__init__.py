"""One module a verb of the command line: ``configure(parser)`` adds its arguments, ``run(arguments, console)`` acts."""
