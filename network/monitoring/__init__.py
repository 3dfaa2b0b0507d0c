"""Watching routers: polling them, what the samples say, and whom to tell."""
