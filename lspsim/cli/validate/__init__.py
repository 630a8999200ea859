"""`lspsim validate` and `lspsim rtl`: the model held against other people's figures."""
