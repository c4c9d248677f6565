"""The web front door. For now it is the guard before Dagster's UI; login and pages come here."""
