"""`python -m deeptwins` is `deeptwins`."""

from deeptwins.cli import main

if __name__ == "__main__":
    main()
