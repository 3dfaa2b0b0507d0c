"""`python -m stack` is `portico`, for where the command itself is not installed."""

from stack.cli import main

main()
