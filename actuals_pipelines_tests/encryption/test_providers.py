from __future__ import annotations

import base64
import stat
from pathlib import Path
from uuid import UUID

import pytest

from actuals_pipelines.encryption.providers import (
    EnvironmentProvider,
    FileProvider,
    KekMissing,
    KekRefused,
    WrappedKeyRefused,
    create_provider,
    platform_key,
    provider_for,
)
from actuals_pipelines.settings import Home
from actuals_pipelines_tests.encryption.keys import KEK, OTHER_KEK

HOME = UUID("33333333-3333-4333-8333-333333333333")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ACTUALS_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("ACTUALS_KEK", raising=False)
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home", HOME)


def test_a_wrapped_key_opens_with_the_same_kek_and_context_only() -> None:
    wrapped = EnvironmentProvider(KEK).wrap(b"k" * 32, b"acme")

    assert EnvironmentProvider(KEK).unwrap(wrapped, b"acme") == b"k" * 32
    for provider, text, context in [
        (EnvironmentProvider(OTHER_KEK), wrapped, b"acme"),
        (EnvironmentProvider(KEK), wrapped, b"bolt"),
        (EnvironmentProvider(KEK), wrapped[:-1], b"acme"),
        (EnvironmentProvider(KEK), b"\x02" + wrapped[1:], b"acme"),
        (EnvironmentProvider(KEK), b"", b"acme"),
    ]:
        with pytest.raises(WrappedKeyRefused, match="ACTUALS_KEK"):
            provider.unwrap(text, context)


def test_a_new_key_file_is_its_owners_alone(home: Home) -> None:
    create_provider(home)

    assert stat.S_IMODE(home.kek_file.stat().st_mode) == 0o400
    assert stat.S_IMODE(home.kek_file.parent.stat().st_mode) == 0o700
    assert home.kek_file.stat().st_size == 32
    assert [path.name for path in home.kek_file.parent.iterdir()] == [home.kek_file.name]


def test_an_existing_key_file_is_used_and_never_replaced(home: Home) -> None:
    wrapped = create_provider(home).wrap(b"k" * 32, b"")

    assert create_provider(home).unwrap(wrapped, b"") == b"k" * 32
    with pytest.raises(KekRefused, match="there is one already"):
        FileProvider.create(home.kek_file)
    assert provider_for(home).unwrap(wrapped, b"") == b"k" * 32


def test_a_missing_kek_lists_where_it_was_looked_for(home: Home) -> None:
    with pytest.raises(KekMissing) as refused:
        provider_for(home)

    assert refused.value.looked_in == ("ACTUALS_KEK", str(home.kek_file))
    assert str(home.kek_file) in str(refused.value)


def test_the_environment_comes_first(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    create_provider(home)
    monkeypatch.setenv("ACTUALS_KEK", KEK)

    wrapped = provider_for(home).wrap(b"k" * 32, b"")

    assert EnvironmentProvider(KEK).unwrap(wrapped, b"") == b"k" * 32


def test_a_key_file_inside_the_home_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of such a home would open itself."""
    monkeypatch.setenv("ACTUALS_KEYS", str(home.root / "keys"))
    with pytest.raises(KekRefused, match="inside the home"):
        create_provider(home)
    assert not (home.root / "keys").exists()


def test_a_link_into_the_home_is_refused_too(home: Home) -> None:
    inside = home.root / "kek"
    FileProvider.create(inside)
    home.kek_file.parent.mkdir()
    home.kek_file.symlink_to(inside)

    with pytest.raises(KekRefused, match="inside the home"):
        provider_for(home)


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o620, 0o644])
def test_a_key_file_that_others_may_use_is_refused(home: Home, mode: int) -> None:
    create_provider(home)
    home.kek_file.chmod(mode)

    with pytest.raises(KekRefused, match=f"{mode:04o}"):
        provider_for(home)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_file_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "kek"
    path.write_bytes(b"k" * size)
    path.chmod(0o400)

    with pytest.raises(KekRefused, match="32 bytes"):
        FileProvider(path)


@pytest.mark.parametrize("text", ["", "canary!", base64.b64encode(b"k" * 31).decode()])
def test_a_kek_in_the_environment_that_is_no_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(KekRefused, match="ACTUALS_KEK") as refused:
        EnvironmentProvider(text)

    assert not text or text not in str(refused.value)


def test_platform_keys_are_stable_and_differ_by_label_home_and_kek() -> None:
    provider = EnvironmentProvider(KEK)
    keys = {platform_key(provider, HOME, label) for label in ("doors", "locations", "credentials")}

    assert platform_key(EnvironmentProvider(KEK), HOME, "doors") in keys
    assert len(keys | {platform_key(provider, UUID(int=1), "doors")}) == 4
    assert platform_key(EnvironmentProvider(OTHER_KEK), HOME, "doors") not in keys
    with pytest.raises(ValueError, match="doorz"):
        platform_key(provider, HOME, "doorz")


def test_a_provider_shows_no_key(home: Home) -> None:
    provider = create_provider(home)
    kek = home.kek_file.read_bytes()

    assert repr(provider) == str(provider) == "<FileProvider>"
    assert kek.hex() not in repr(vars(type(provider)))
