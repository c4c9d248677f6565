"""The sFTP drop: the door where a customer leaves files. Write-only; it seals while bytes arrive, and opens nothing."""
