"""`python -m actuals_pipelines.cli`: the same as `actuals`."""

from actuals_pipelines.cli import main

main()
