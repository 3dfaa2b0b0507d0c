"""The commands of `portico`, one module each; see `stack.cli`."""
