"""An I/O manager that refuses: Dagster's default one would pickle tables to disk in plaintext."""

from typing import Any, NoReturn

import dagster as dg


class RefusingIOManager(dg.IOManager):
    """Steps hand nothing over through Dagster: they write to the tenant's encrypted store and return nothing."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if obj is not None:
            self._refuse(context.step_key)

    def load_input(self, context: dg.InputContext) -> NoReturn:
        self._refuse(context.name)

    def _refuse(self, step: str) -> NoReturn:
        raise dg.DagsterInvariantViolationError(
            f"{step} hands data through Dagster, which would store it in plaintext. Use the tenant's store."
        )


@dg.io_manager
def refusing_io_manager() -> RefusingIOManager:
    """The default `io_manager` of every location."""
    return RefusingIOManager()
