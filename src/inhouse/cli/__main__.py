"""`python -m inhouse.cli`, for the processes that the server starts."""

from inhouse.cli.main import main

main()
