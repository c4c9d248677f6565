"""Walls, tried from outside with what the running home really hands out: logins, keys, files, a copy of the home.

The walls of the database server alone are tried in `database/`, those of files alone in `store/` and `encryption/`.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from sqlalchemy.pool import NullPool

from actuals_pipelines.cli import COMMANDS, actuals
from actuals_pipelines.encryption.container_errors import ContainerError
from actuals_pipelines.encryption.keyring import KeyringRefused, TenantKeys, open_keyring
from actuals_pipelines.encryption.providers import EnvironmentProvider, KekMissing, platform_key, provider_for
from actuals_pipelines.landing import open_unit
from actuals_pipelines.operations import take_in
from actuals_pipelines.operations.units import source_of
from actuals_pipelines.settings import Home
from actuals_pipelines.store import catalogue
from actuals_pipelines.tenants.environment import keyring_path
from actuals_pipelines.tenants.projections import (
    DatabaseLogin,
    DoorView,
    ViewRefused,
    read_door_view,
    read_door_views,
    read_location_views,
)
from actuals_pipelines_tests.journeys.house import DAYS, House, order, psp_file, wait_for

DAY = DAYS[0]


@pytest.fixture(scope="module")
def walled(house: House) -> House:
    """Two tenants whose locations are not told: what they were given stays as the test left it."""
    for name in ("inside", "outside"):
        house.add_tenant(name)
        wait_for(lambda name=name: _is_taken(house, name), 30)  # the inbox looks for new keys now and then
        house.upload(name, "psp", psp_file(f"1,order-4711,47.11,EUR,{DAY},{name}"), "psp.csv", DAY)
    return house


def _is_taken(house: House, name: str) -> bool:
    return house.push(name, [order("4711", "47.11", DAY)]).status_code in (200, 201)


def door_key(house: House) -> bytes:
    """What `actuals up` hands to the doors as ACTUALS_DOOR_KEY."""
    return platform_key(provider_for(house.home), house.home.uuid, "doors")


def door_view(house: House, name: str) -> DoorView:
    return read_door_view(house.home.doors, door_key(house), house.applied[name].ref)


def ask(login: DatabaseLogin, database: str, question: str = "select 1") -> object:
    """Connect anew over TCP, as from another process."""
    url = login.address.over_tcp().url(database, login.role, login.password)
    engine = sa.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return connection.exec_driver_sql(question).scalar()


@pytest.mark.parametrize("database", ["the other tenant's", "dagster", "control", "postgres", "template1"])
@pytest.mark.parametrize("who", ["code location", "door"])
def test_a_login_that_the_home_hands_out_opens_its_tenants_database_alone(
    walled: House, who: str, database: str
) -> None:
    login = walled.tenant("inside").view.login if who == "code location" else door_view(walled, "inside").login
    other = walled.applied["outside"].ref.database if database == "the other tenant's" else database

    assert ask(login, login.database) == 1
    with pytest.raises(sa.exc.OperationalError, match=r"pg_hba\.conf rejects"):
        ask(login, other)


@pytest.mark.parametrize("column", ["sealed", "data_key_id", "*"])
def test_the_inboxs_own_login_does_not_read_back_what_it_stored(walled: House, column: str) -> None:
    login = door_view(walled, "inside").login

    assert ask(login, login.database, "select count(id) from inbox_body") == 1
    with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
        ask(login, login.database, f"select {column} from inbox_body")  # noqa: S608 - our own words


def test_one_tenants_keys_open_no_file_that_another_was_given(walled: House) -> None:
    """With the other's catalogue and files in hand, and only its own keys."""
    with walled.opened("inside") as inside, walled.opened("outside") as outside:
        [unit] = catalogue.units_of_day(inside, "psp", DAY)
        assert b"inside" in open_unit(inside, unit).read()

        with pytest.raises(ContainerError):
            open_unit(replace(inside, keys=outside.keys), unit).read()


def test_another_tenants_file_in_ones_place_is_not_taken_in(walled: House) -> None:
    """The day is not published; with the right bytes back, it is."""
    with walled.opened("inside") as inside, walled.opened("outside") as outside:
        [mine], [theirs] = (catalogue.units_of_day(env, "psp", DAY) for env in (inside, outside))
        own, source = inside.prefix / mine.path, source_of(inside, "psp")
        kept = own.read_bytes()
        shutil.copyfile(outside.prefix / theirs.path, own)
        try:
            with pytest.raises(ContainerError):
                take_in.validate(inside, source, [DAY])
            assert catalogue.published_days(inside, "psp") == ()
        finally:
            own.write_bytes(kept)

        take_in.validate(inside, source, [DAY])
        [day] = take_in.publish(inside, source, [DAY])
        assert day.outcome == "published"


def test_the_doors_key_opens_what_doors_may_know_and_no_data(walled: House) -> None:
    """A door's memory: it opens the doors' views; no configuration, no keyring, no container."""
    key, home, ref = door_key(walled), walled.home, walled.applied["inside"].ref
    as_kek = EnvironmentProvider(base64.b64encode(key).decode())

    assert {"inside", "outside"} <= {view.name for view in read_door_views(home.doors, key)}
    with pytest.raises(ViewRefused):
        read_location_views(home.locations, key)
    with pytest.raises(KeyringRefused):
        open_keyring(keyring_path(home, ref), ref, as_kek)
    with walled.opened("inside") as env:
        [unit] = catalogue.units_of_day(env, "psp", DAY)
        with pytest.raises(ContainerError):
            open_unit(replace(env, keys=TenantKeys(ref, key, key, key)), unit).read()


def test_what_the_inbox_stored_opens_with_the_tenants_keys_alone(walled: House) -> None:
    """The other tenant's process finds the events and lands none of them."""
    with walled.opened("inside") as inside, walled.opened("outside") as outside:
        source = source_of(inside, "shop")
        thief = replace(inside, keys=outside.keys, engine=inside.engine)
        with inside.engine.connect() as connection:
            sealed = connection.exec_driver_sql("select sealed from inbox_body").scalar_one()
        assert b"4711" not in sealed

        query = "select k.id, k.sealed from inbox_data_key k join inbox_body b on b.data_key_id = k.id"
        with inside.engine.connect() as connection:
            [(key_id, sealed_key)] = connection.exec_driver_sql(query).all()
        with pytest.raises(Exception, match="sealed"):
            thief.keys.open_minute_key(key_id, sealed_key)

        take_in.land(inside, source, [DAY], now=datetime.now(UTC))
        [unit] = catalogue.units_of_day(inside, "shop", DAY)
        assert b"order-4711" in open_unit(inside, unit).read()


# --- A copy of the home without the key that encrypts its keys --------------------------------------------------------

OPENS_NOTHING = {"match", "read", "demo-data", "demo", "status"}
"""They need no home, make one of their own, or tell only whether services answer."""

REFUSED = [
    ["init"],
    ["tenant", "apply", "tenant.yaml"],
    ["tenant", "list"],
    ["tenant", "show", "inside"],
    ["secret", "list", "inside"],
    ["secret", "set", "inside", "a_secret"],
    ["api-key", "list", "inside"],
    ["api-key", "create", "inside", "--owner", "ops"],
    ["api-key", "revoke", "inside", "0123456789abcdef"],
    ["api-key", "rotate", "inside", "0123456789abcdef"],
    ["run", "inside"],
    ["report", "inside"],
    ["explain", "inside", "order-4711"],
    ["find", "inside", "order-4711"],
    ["day", "inside", "psp", str(DAY)],
    ["source", "list", "inside"],
    ["source", "upload", "inside", "psp", "tenant.yaml"],
    ["source", "release", "inside", "00000000-0000-4000-8000-000000000000", "--reason", "because"],
    ["source", "approve", "inside", "00000000-0000-4000-8000-000000000000"],
    ["source", "arrivals", "inside"],
    ["source", "look-again", "inside", "00000000-0000-4000-8000-000000000000"],
    ["source", "connect", "inside", "psp"],
    ["source", "host-key", "inside", "psp"],
    ["source", "public-key", "inside", "psp"],
    ["decide", "list", "inside"],
    ["decide", "withdraw", "inside", "00000000-0000-4000-8000-000000000000", "--comment", "an error"],
    ["package", "test", "inside", "draft.yaml"],
    ["alert", "list"],
    ["alert", "test"],
    ["audit", "list", "inside"],
    ["error", "list", "inside"],
    ["error", "show", "inside", "00000000-0000-4000-8000-000000000000"],
    ["up"],
]


@pytest.fixture(scope="module")
def copy(walled: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """What a backup of the home, or a stolen disk, has; without the database, to which no command comes."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(walled.home.root, folder / "home", ignore=shutil.ignore_patterns("postgres", "run"))
    (folder / "tenant.yaml").write_text("name: inside\n")
    source = "{name: psp, kind: upload, format: camt053}"
    (folder / "draft.yaml").write_text(f"name: inside\ntime_zone: UTC\nstart: 2026-01-01\nsources: [{source}]\n")
    yield Home(folder / "home", walled.home.uuid)
    assert not (folder / "home" / "postgres").exists()  # nothing was made anew beside what was stolen


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_a_copy_of_the_home_opens_nothing(copy: Home, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTUALS_KEYS", str(copy.root.parent / "other keys"))
    monkeypatch.chdir(copy.root.parent)
    done = CliRunner().invoke(actuals, [*words, "--home", str(copy.root)], input="a value\n")

    assert isinstance(done.exception, KekMissing), done.output
    assert str(copy.root.parent / "other keys") in str(done.exception)
    assert done.output == ""


def test_every_command_was_tried_on_the_copy() -> None:
    assert {words[0] for words in REFUSED} | OPENS_NOTHING == set(COMMANDS)


def test_the_folders_of_the_home_are_its_owners_alone(walled: House) -> None:
    """Keyrings, data, views, credentials: another user of the machine does not even list them."""
    root = walled.home.root
    folders = [root, *(path for path in root.iterdir() if path.is_dir())]

    assert [path.name for path in folders if path.stat().st_mode & 0o077] == []
    assert os.stat(keyring_path(walled.home, walled.applied["inside"].ref)).st_mode & 0o077 == 0
