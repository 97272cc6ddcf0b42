"""``python -m s2mnet``, and so ``torchrun -m s2mnet``: the command line."""

from s2mnet.cli import main

if __name__ == "__main__":
    main()
