"""One file per format: a byte stream becomes batches of raw records, rejects and control totals.

A reader knows no key, path, tenant or network, so that hostile files can be read in a bare child process. What a
record means is the business of `normalise`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module, resources
from typing import cast

from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.readers.reading import FileEmpty, FileRefused, OptionRefused, Reader, Reading

__all__ = [
    "FORMATS",
    "PROFILES",
    "FileEmpty",
    "FileRefused",
    "FormatUnknown",
    "OptionRefused",
    "Reader",
    "Reading",
    "open_reader",
]

_READERS = {
    "csv": "csv:CsvReader",
    "parquet": "parquet:ParquetReader",
    "xlsx": "xlsx:XlsxReader",
    "ndjson": "ndjson:NdjsonReader",
    "api_pages": "api_pages:ApiPagesReader",
    "camt053": "camt:Camt053Reader",
    "camt052": "camt:Camt052Reader",
    "camt054": "camt:Camt054Reader",
    "bai2": "bai2:Bai2Reader",
    "ofx": "ofx:OfxReader",
    "berlin_group": "berlin_group:BerlinGroupReader",
    "mt940": "mt940:Mt940Reader",
    "mt942": "mt940:Mt942Reader",
}
PROFILES = tuple(  # by their files' names: the library itself loads DuckDB
    sorted(
        path.name.removesuffix(".yaml")
        for path in resources.files(__name__).joinpath("profiles", "library").iterdir()
        if path.name.endswith(".yaml")
    )
)
FORMATS = (*_READERS, *PROFILES)


class FormatUnknown(ConfigurationError):
    """A source names a format that no reader reads."""

    def __init__(self, format: str) -> None:
        super().__init__(format)
        self.format = format

    def __str__(self) -> str:
        return f"There is no reader for the format {self.format!r}. There are: {', '.join(FORMATS)}."


def open_reader(format: str) -> Reader:
    """The reader of a format; its libraries are loaded now and not before."""
    if format in PROFILES:
        profiles = import_module(f"{__name__}.profiles")
        return cast("Reader", profiles.ProfileReader(profiles.shipped(format)))
    if format not in _READERS:
        raise FormatUnknown(format)
    module, name = _READERS[format].split(":")
    reader = getattr(import_module(f"{__name__}.{module}"), name)
    return cast("Callable[[], Reader]", reader)()
