"""`python -m lspsim` is the same as `lspsim`."""

from lspsim.cli import main

if __name__ == "__main__":
    main()
