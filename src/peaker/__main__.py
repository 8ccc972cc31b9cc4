"""`python -m peaker` and the `peaker` command."""

from peaker.cli import main

if __name__ == "__main__":
    main()
