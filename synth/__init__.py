"""The command line, the toolchain, netlists as programs, measurements and proofs."""
