"""`python -m karma_cli`: the `karma` command."""

from karma_cli import main

main()
