"""Who may connect, and on what terms: decisions only, with no database, network or clock."""
