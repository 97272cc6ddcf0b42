"""``python -m s2mnet_lab``."""

from s2mnet_lab.cli import main

if __name__ == "__main__":
    main()
