"""Alerts: what is wrong now is found by looking, kept as open or resolved, and told through channels.

Nobody has to raise an alert, so none is lost with the process that should have raised it: `watchdog` looks at services,
at Dagster's tables and at the tenants' catalogues, from within the process that runs the home. Texts hold names, days
and counts, never a customer's value.
"""
