"""Words everything shares: settings, clock, MAC addresses, rates, secrets, logging. Imports none of ours."""
