"""A shop is found, read whole, and becomes one checked value."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import time, timedelta
from pathlib import Path

import pytest

from tests.project.builder import campaign, email_step, sms_step, write_shop
from winback.errors import InputError, ProjectError
from winback.project import Cap, Fallback, QuietHours, find_root, inspect_project, load_project
from winback.project.settings import GatewaySettings
from winback.store import Channel, Purpose


def test_an_empty_config_is_a_shop_with_every_default(tmp_path: Path) -> None:
    project = load_project(write_shop(tmp_path), environ={})
    settings = project.settings
    assert settings.database.url == "sqlite:///var/winback.sqlite"
    assert settings.deliver.for_channel(Channel.SMS) == "outbox"
    assert settings.gateways == {"outbox": GatewaySettings(type="outbox")}
    assert settings.limits.for_channel(Channel.EMAIL) == (Cap(1, timedelta(hours=16)), Cap(4, timedelta(days=7)))
    assert settings.limits.for_channel(Channel.SMS) == (Cap(1, timedelta(hours=24)), Cap(4, timedelta(days=30)))
    assert settings.quiet_hours.for_channel(Channel.SMS) == QuietHours(time(21), time(9))
    assert settings.quiet_hours.for_channel(Channel.EMAIL) is None
    assert settings.web.public_url == "http://127.0.0.1:8025"
    assert project.campaigns == {}


def test_settings_become_values(tmp_path: Path) -> None:
    written = {
        "shop": {"name": "Half Note", "zone": "Europe/Berlin", "email_from": "Hello@HALFNOTE.example"},
        "web": {"public_url": "https://mail.halfnote.example/", "password": {"env": "PAGES"}},
        "limits": {"email": ["2 per 1d"], "sms": []},
        "quiet_hours": {"sms": "off", "email": "22:00-07:30"},
        "gateways": {"relay": {"type": "smtp", "host": "mail", "password": {"file": "smtp.key"}}},
        "deliver": {"email": "relay"},
    }
    root = write_shop(tmp_path, settings=written)
    (root / "smtp.key").write_text("pssst\n")
    settings = load_project(root, environ={"PAGES": "open sesame"}).settings
    assert settings.shop.brand.logo_text == "Half Note"  # the shop's name, where no other is written
    assert settings.shop.email_from == "hello@halfnote.example"
    assert settings.web.public_url == "https://mail.halfnote.example"
    assert settings.web.password is not None
    assert settings.web.password.reveal() == "open sesame"
    assert settings.limits.email == (Cap(2, timedelta(days=1)),)
    assert settings.limits.sms == ()
    assert settings.quiet_hours.sms is None
    assert settings.quiet_hours.email == QuietHours(time(22), time(7, 30))
    assert settings.gateways["relay"].options["password"].reveal() == "pssst"
    assert "pssst" not in repr(settings)
    assert "sesame" not in repr(settings)


def test_a_campaign_becomes_an_object(tmp_path: Path) -> None:
    written = campaign(
        purpose="service",
        schedule={"at": time(9, 30), "days": ["tue", "Thursday"], "late": "2h"},
        limits={"cooldown": "120d", "on_capped": "skip"},
        measure={"holdout": "2.5%", "conversion": "event:visit"},
        exit={"when": "ordered"},
        variants={"b": "30%"},
        steps=[
            email_step("hello", variants={"b": {"subject": "Or so"}}),
            email_step(
                "offer", after="7d 12h", at="18:00", fallback={"channel": "sms"}, coupon={"pool": "WAKE", "expires": "2w"}
            ),
            sms_step("last", after="1d"),
        ],
    )
    project = load_project(write_shop(tmp_path, campaigns={"wake-up": written}), environ={})
    found = project.campaigns["wake-up"]
    assert (found.name, found.path) == ("wake-up", project.root / "campaigns/wake-up.toml")
    assert found.purpose is Purpose.SERVICE
    assert (found.priority, found.enabled, found.on_uncertain) == (50, True, "hold")
    assert (found.schedule.at, found.schedule.days, found.schedule.late) == (time(9, 30), frozenset({1, 3}), timedelta(hours=2))
    assert (found.limits.cooldown, found.limits.on_capped) == (timedelta(days=120), "skip")
    assert (found.measure.holdout, found.measure.conversion, found.measure.window) == (250, "event:visit", timedelta(days=30))
    assert found.exit.when == "ordered"
    assert found.variants == {"b": 3000}
    hello, offer, last = found.steps
    assert offer.after == timedelta(days=7, hours=12)
    assert offer.at == time(18)
    assert offer.fallback == Fallback(channel=Channel.SMS, on=("no_address", "no_consent", "hard_bounce"), template=None)
    assert offer.coupon is not None
    assert offer.coupon.expires == timedelta(days=14)
    assert last.channel is Channel.SMS
    assert hello.for_variant("b").subject == "Or so"
    assert hello.for_variant("b").template == hello.template
    assert hello.for_variant("a") == hello


def test_steps_are_found_by_name_and_in_order(tmp_path: Path) -> None:
    written = campaign(steps=[email_step("one"), email_step("two", after="1d")])
    found = load_project(write_shop(tmp_path, campaigns={"case": written}), environ={}).campaigns["case"]
    assert found.step("two").name == "two"
    assert found.next_step("one") == found.step("two")
    assert found.next_step("two") is None
    assert found.next_step("gone") is None
    assert found.find_step("three") is None
    with pytest.raises(InputError, match="its steps are one, two"):
        found.step("three")


def test_campaigns_come_by_priority_then_name(tmp_path: Path) -> None:
    priorities = {"zebra": 10, "b": 50, "a": 50, "last": 90}
    root = write_shop(tmp_path, campaigns={name: campaign(priority=number) for name, number in priorities.items()})
    assert list(load_project(root, environ={}).campaigns) == ["zebra", "a", "b", "last"]


def test_files_for_tests_of_campaigns_are_no_campaigns(tmp_path: Path) -> None:
    root = write_shop(tmp_path, campaigns={"case": campaign(), "tests/case": "not = [even"})
    assert list(load_project(root, environ={}).campaigns) == ["case"]


def test_what_a_file_says_makes_its_hash_and_nothing_else(tmp_path: Path) -> None:
    def hash_of(text: str) -> str:
        path = write_shop(tmp_path, campaigns={"case": campaign()}) / "campaigns/case.toml"
        path.write_text(text)
        return load_project(tmp_path, environ={}).campaigns["case"].definition_hash

    head = 'title = "Hello"\npriority = 5\n'
    rest = '[audience]\npreset = "sleeping"\ninactive = "90d"\n[[steps]]\nname = "hello"\nchannel = "email"\ntemplate = "hello"\n'
    first = hash_of(head + rest + 'subject = "Hi"\n')
    assert hash_of('# a comment\npriority = 5\ntitle   = "Hello"\n' + rest + 'subject = "Hi"\n') == first
    assert hash_of(head + rest + 'subject = "Hi!"\n') != first


def test_the_problems_of_all_files_come_together(tmp_path: Path) -> None:
    root = write_shop(
        tmp_path,
        settings='[shop]\nzone = "Berlin"\n',
        campaigns={"one": campaign(titel="x"), "two": "title = \n", "three": campaign(steps=[email_step(after="soon")])},
        segments={"loyal": {"title": "Loyal", "where": "nonsense = 1"}},
    )
    with pytest.raises(ProjectError) as caught:
        load_project(root, environ={})
    files = [str(problem.file) for problem in caught.value.problems]
    assert files == [
        "campaigns/audiences.toml",
        "campaigns/one.toml",
        "campaigns/three.toml",
        "campaigns/two.toml",
        "config.toml",
    ]
    assert str(caught.value).startswith("5 problems\ncampaigns/audiences.toml:1: loyal.where: ")


def test_a_campaign_with_a_problem_is_not_called_missing_by_others(tmp_path: Path) -> None:
    asks = campaign(audience={"preset": "sleeping", "inactive": "90d", "where": "not received('broken', 30)"})
    root = write_shop(tmp_path, campaigns={"broken": "title = \n", "asks": asks})
    _, problems = inspect_project(root, environ={})
    assert [str(problem.file) for problem in problems] == ["campaigns/broken.toml"]


def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    root = write_shop(tmp_path, campaigns={"case": campaign()})
    (root / "campaigns/case.toml").write_bytes(b'title = "x"\ngoal = "gr\xfc\xdfe"\n')
    _, problems = inspect_project(root, environ={})
    assert [str(problem) for problem in problems] == [
        "campaigns/case.toml:2: the file is not UTF-8; save it as UTF-8 in your editor"
    ]


def test_windows_files_are_read(tmp_path: Path) -> None:
    root = write_shop(tmp_path, campaigns={"case": campaign()})
    path = root / "campaigns/case.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_project(root, environ={}).campaigns["case"].title == "Hello again"


def test_a_campaign_file_needs_a_name_of_plain_letters(tmp_path: Path) -> None:
    root = write_shop(tmp_path, campaigns={"Wake Up!": campaign()})
    _, problems = inspect_project(root, environ={})
    assert [problem.message for problem in problems] == ["'Wake Up!' cannot be a campaign's name"]


def test_the_shop_is_found_from_below(tmp_path: Path) -> None:
    root = write_shop(tmp_path / "shop", campaigns={"case": campaign()})
    assert find_root(root / "campaigns") == root
    with pytest.raises(InputError, match="winback init DIR"):
        find_root(tmp_path)
    with pytest.raises(InputError, match="is not a shop"):
        load_project(tmp_path)


def test_the_environment_gives_the_database(tmp_path: Path) -> None:
    url = "postgresql://shop:pssst@db/shop"
    settings = load_project(write_shop(tmp_path), environ={"WINBACK_DATABASE_URL": url}).settings
    assert settings.database.url == url
    assert "pssst" not in repr(settings)


def test_loading_writes_nothing_and_the_secret_is_made_on_first_need(tmp_path: Path) -> None:
    root = write_shop(tmp_path)
    project = load_project(root, environ={})
    assert not project.var.exists()
    key = project.key("links")
    file = project.var / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_project(root, environ={}).key("links") == key
    assert len(key) == 32
    assert project.key("coupon") != key
    assert project.secret.decode() not in repr(project)


def test_processes_that_make_the_secret_at_once_agree(tmp_path: Path) -> None:
    root = write_shop(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_project(root, environ={}).key("links"), range(8)))
    assert len(keys) == 1
    assert [path.name for path in (root / "var").iterdir()] == ["secret.key"]


def test_the_environment_gives_the_secret(tmp_path: Path) -> None:
    root = write_shop(tmp_path)
    project = load_project(root, environ={"WINBACK_SECRET": "correct horse battery staple"})
    assert project.secret == b"correct horse battery staple"
    assert not project.var.exists()
    assert "horse" not in repr(project)
    with pytest.raises(ProjectError, match="the secret is too short"):
        load_project(root, environ={"WINBACK_SECRET": "short"})


def test_a_secret_file_without_a_secret_is_no_secret(tmp_path: Path) -> None:
    project = load_project(write_shop(tmp_path), environ={})
    project.var.mkdir()
    (project.var / "secret.key").write_text("\n")
    with pytest.raises(InputError, match="holds no secret"):
        project.key("links")


def test_imports_are_told_what_the_shop_says(tmp_path: Path) -> None:
    written = {"shop": {"zone": "Europe/Berlin", "region": "DE", "currency": "EUR"}}
    project = load_project(write_shop(tmp_path, settings=written), environ={})
    told = project.import_settings()
    assert (told.zone, told.region, told.currency) == ("Europe/Berlin", "DE", "EUR")
    assert told.address_key == project.key("address")
    assert told.rejects_folder == project.root / "var/rejects"
