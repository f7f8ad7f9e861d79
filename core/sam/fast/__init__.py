"""The same figures as the plain networks give, with less work."""
