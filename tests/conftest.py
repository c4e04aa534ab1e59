from hypothesis import settings

# The same examples on every run, and no limit on how long one may take on a busy machine.
settings.register_profile("reproducible", derandomize=True, deadline=None, print_blob=False)
settings.load_profile("reproducible")
