"""What importing costs: a code location loads in every run and every server, so heavy libraries wait for their use."""

from __future__ import annotations

import subprocess
import sys

_HEAVY = ("pandas", "pyarrow.dataset", "great_expectations", "openpyxl", "python_calamine")


def test_loading_the_code_location_loads_no_heavy_library() -> None:
    """pandas alone is half a second and 100 MB; `pyarrow.dataset` loads it, and so does an empty `pa.array`."""
    code = f"import sys, actuals_pipelines.definitions; print([name for name in {_HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)

    assert done.stdout.strip() == "[]"
