"""Settings of the whole test run."""

from hypothesis import settings

# The same examples in every run, so that a failure is one for everybody; and no deadline for a single example, which
# a busy machine misses.
settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.load_profile("reproducible")
