"""The room of alerts, by part."""
