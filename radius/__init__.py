"""RADIUS: what FreeRADIUS calls, the image it answers from, the journal it writes, and the CoA that follows."""
