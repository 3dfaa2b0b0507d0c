"""What is stored: models, sessions with tenancy, migrations."""
