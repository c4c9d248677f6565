"""Dagster, thin: asset factory, checks, sensors, schedules, jobs, resources. No rule about money, no SQL, no file."""
