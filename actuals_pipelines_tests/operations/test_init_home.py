"""`actuals init`: a home whose copy opens nothing, made in steps that can all be repeated."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from actuals_pipelines.encryption.providers import KekMissing, create_provider, provider_for
from actuals_pipelines.operations.init_home import HomeFolderTaken, init_home
from actuals_pipelines.operations.platform_credentials import (
    PlatformCredentialsRefused,
    read_platform_credentials,
    write_platform_credentials,
)
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.settings import Home, find_home
from actuals_pipelines_tests.operations.conftest import NOW, MadeHome


def test_a_new_home_is_found_and_its_control_database_takes_its_role(made_home: MadeHome) -> None:
    assert find_home(str(made_home.home.root)) == made_home.home

    with running_postgres(made_home.home) as platform, platform.control.connect() as connection:
        assert connection.execute(sa.text("select count(*) from tenant")).scalar() is not None
        assert connection.execute(sa.text("select current_user")).scalar() == "control"


def test_the_key_that_encrypts_keys_lies_outside_the_home(made_home: MadeHome) -> None:
    inside = {path.read_bytes() for path in made_home.home.root.rglob("*") if path.is_file() and _is_small(path)}

    [kek_file] = made_home.keys.iterdir()
    assert kek_file.read_bytes() not in inside
    assert not any(kek_file.read_bytes() in content for content in inside)


def test_a_copy_of_the_home_alone_opens_nothing(
    made_home: MadeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made_home.home.root, copy, ignore=shutil.ignore_patterns("postgres"))
    monkeypatch.setenv("ACTUALS_KEYS", str(tmp_path / "other_keys"))

    with pytest.raises(KekMissing), running_postgres(find_home(str(copy))):
        pass


def test_init_again_changes_nothing_but_never_makes_a_lost_key_anew(
    made_home: MadeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords = read_platform_credentials(made_home.home, provider_for(made_home.home))

    again = init_home(made_home.home.root, NOW)

    assert (again.home, again.was_made) == (made_home.home, False)
    assert read_platform_credentials(made_home.home, provider_for(made_home.home)) == passwords
    monkeypatch.setenv("ACTUALS_KEYS", str(tmp_path / "other_keys"))
    with pytest.raises(KekMissing):
        init_home(made_home.home.root, NOW)


def test_an_interrupted_init_is_completed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after the roles were made and before their passwords were kept: they get new ones."""
    monkeypatch.setenv("ACTUALS_KEYS", str(tmp_path / "keys"))
    home = init_home(tmp_path / "home", NOW).home
    passwords = read_platform_credentials(home, provider_for(home))
    write_platform_credentials(home, provider_for(home), {"superuser": passwords["superuser"]})

    again = init_home(tmp_path / "home", NOW)

    assert read_platform_credentials(home, provider_for(home))["control"] != passwords["control"]
    with running_postgres(again.home) as platform, platform.control.connect():
        pass


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")

    with pytest.raises(HomeFolderTaken):
        init_home(tmp_path, NOW)

    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_lost_credentials_beside_a_database_are_an_error_not_a_new_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTUALS_KEYS", str(tmp_path / "keys"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "home.json").write_text('{"home": "00000000-0000-0000-0000-000000000001"}')
    home = find_home(str(tmp_path / "home"))
    create_provider(home)
    (home.postgres / "data").mkdir(parents=True)

    with pytest.raises(PlatformCredentialsRefused, match="but the database does"):
        init_home(home.root, NOW)


def test_another_homes_credentials_do_not_open(made_home: MadeHome) -> None:
    """The same file and KEK under another home id: bound to its home."""
    provider = provider_for(made_home.home)
    other = Home(made_home.home.root, type(made_home.home.uuid)(int=7))

    with pytest.raises(PlatformCredentialsRefused, match="does not open it"):
        read_platform_credentials(other, provider)


def _is_small(path: Path) -> bool:
    return "postgres" not in path.parts and path.stat().st_size < 100_000
