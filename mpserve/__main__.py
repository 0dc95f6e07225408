"""`python -m mpserve` is the command `mpserve`."""

from mpserve.cli.entry import main

if __name__ == "__main__":
    main()
