"""Tenants and keyrings for the tests of this room."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

from actuals_pipelines.domain.tenant import TenantRef
from actuals_pipelines.encryption.container import ContainerAad, Kind
from actuals_pipelines.encryption.keyring import TenantKeys, create_keyring
from actuals_pipelines.encryption.providers import EnvironmentProvider

KEK = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER_KEK = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA="
ACME = TenantRef(UUID("11111111-1111-4111-8111-111111111111"))
ACME_TEST = TenantRef(ACME.uuid, "test")
BOLT = TenantRef(UUID("22222222-2222-4222-8222-222222222222"))


def a_keyring(folder: Path, ref: TenantRef = ACME) -> TenantKeys:
    """A fresh keyring under the tests' KEK."""
    return create_keyring(folder / f"{ref.prefix}.keyring", ref, EnvironmentProvider(KEK))


def a_place(ref: TenantRef = ACME) -> ContainerAad:
    """Some raw file of a tenant."""
    return ContainerAad(Kind.RAW, ref, file=uuid4(), source=uuid4(), generation=uuid4())
