"""The execution model: kernels, layers and whole networks, in seconds and joules."""
