"""A network to try Portico on without hardware: an emulated NAS that speaks RADIUS as RouterOS does."""
