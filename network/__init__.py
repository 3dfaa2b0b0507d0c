"""Routers as RouterOS knows them: access over the API, import, provisioning, VPN, monitoring."""
