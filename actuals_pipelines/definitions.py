"""The one `defs`: which tenants this code location serves, nothing else."""

import dagster as dg

from actuals_pipelines.operations.loaded import load_tenants
from actuals_pipelines.orchestration.build import build_definitions
from actuals_pipelines.settings import look_every_seconds

defs: dg.Definitions = build_definitions(load_tenants(), look_every_seconds=look_every_seconds())
