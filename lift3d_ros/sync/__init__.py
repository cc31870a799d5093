"""Which items of several streams belong together, and how they wait for a worker."""
