"""`python -m genir`: the command line."""

from genir.cli import main

if __name__ == "__main__":
    main()
