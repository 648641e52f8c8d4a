"""`python -m karma_gateway.cli`: the `karma` command."""

from karma_gateway.cli import main

main()
