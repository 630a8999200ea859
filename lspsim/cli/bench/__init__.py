"""`lspsim bench`: comparisons of methods, and studies beside them."""
