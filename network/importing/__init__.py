"""Reading what an ISP has already, at its routers or in files, and making subscribers and services of it."""
