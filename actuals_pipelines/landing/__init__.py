"""Landing: what was received, byte for byte and sealed, becomes a unit of the catalogue.

`land` takes a stream (an upload, a pull), `claim_arrivals` what doors left, `land_inbox` what was pushed.
"""

from actuals_pipelines.landing.arrivals import Unclaimed, claim_arrivals, count_stuck, look_again, refused_on, unclaimed
from actuals_pipelines.landing.derived import derive_units, units_sharing
from actuals_pipelines.landing.inbox import land_inbox, mark_rejects
from actuals_pipelines.landing.raw import RawGone, destroy_raw, expire_raw, open_unit, unit_name
from actuals_pipelines.landing.streams import EmptyDelivery, land, land_fetched
from actuals_pipelines.landing.unnamed import delete_unnamed

__all__ = [
    "EmptyDelivery",
    "RawGone",
    "Unclaimed",
    "claim_arrivals",
    "count_stuck",
    "delete_unnamed",
    "derive_units",
    "destroy_raw",
    "expire_raw",
    "land",
    "land_fetched",
    "land_inbox",
    "look_again",
    "mark_rejects",
    "open_unit",
    "refused_on",
    "unclaimed",
    "unit_name",
    "units_sharing",
]
