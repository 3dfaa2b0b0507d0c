"""Where clients come from: each module turns one kind of source into candidates."""
