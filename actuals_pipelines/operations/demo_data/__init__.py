"""Demo data: a shop's order-to-cash in the makers' formats, with known defects and the truth about them."""

from actuals_pipelines.operations.demo_data.defects import WORDS
from actuals_pipelines.operations.demo_data.evaluate import compare, missed
from actuals_pipelines.operations.demo_data.tenant_text import demo_tenant_yaml
from actuals_pipelines.operations.demo_data.world import Wanted
from actuals_pipelines.operations.demo_data.write import DemoData, write_demo_data

__all__ = ["WORDS", "DemoData", "Wanted", "compare", "demo_tenant_yaml", "missed", "write_demo_data"]
