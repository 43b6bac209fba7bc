"""`python -m dimrt.cli`, for a host whose scripts folder is not on the path."""

from dimrt.cli.main import main

main()
