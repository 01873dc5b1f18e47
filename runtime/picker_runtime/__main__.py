"""`python -m picker_runtime`: the command line, wherever it is installed."""

from picker_runtime.cli import main

if __name__ == "__main__":
    main()
