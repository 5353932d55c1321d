"""What is said of DNS records that are right, wrong and missing, asked of a real DNS server on loopback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.compose.signatures import ed25519_key, rsa_key
from tests.project.builder import write_shop
from tests.servers.dns import Zone, dns_server
from winback.compose.dkim_keys import private_pem
from winback.errors import InputError
from winback.project import Project, load_project
from winback.scheduler.deliverability import hosts
from winback.scheduler.deliverability.dkim import dkim, rewritten
from winback.scheduler.deliverability.dmarc import dmarc
from winback.scheduler.deliverability.finding import Finding
from winback.scheduler.deliverability.names import Address, Names, Silent, organisation
from winback.scheduler.deliverability.spf import spf

SHOP = "shop.example"
RELAY = "smtp.relay.example"
#: Addresses that are seen from outside; those of the documentation (192.0.2.0/24 …) count as not.
OUTSIDE = [ip_address("93.184.216.34")]
INSIDE = [ip_address("10.0.0.5")]

# SPF


def _spf(zone: Zone, *, host: str = RELAY, addresses: Sequence[Address] = OUTSIDE) -> Finding:
    with dns_server(zone) as server:
        return spf(Names(server.address), SHOP, host, addresses)


def _shop(*texts: str, **others: Mapping[str, Sequence[str]]) -> dict[str, Mapping[str, Sequence[str]]]:
    return {SHOP: {"TXT": texts}, **{name.replace("_", "."): records for name, records in others.items()}}


ALLOWED = {
    "the address": _shop("v=spf1 ip4:93.184.216.34 -all"),
    "the network": _shop("google-site-verification=abc", "V=SPF1 ip4:10.1.2.3 ip4:93.184.216.0/24 ~all"),
    "its name": _shop("v=spf1 a:smtp.relay.example -all", smtp_relay_example={"A": ["93.184.216.34"]}),
    "its name and its network": _shop("v=spf1 a:smtp.relay.example/24 -all", smtp_relay_example={"A": ["93.184.216.1"]}),
    "its own name": {SHOP: {"TXT": ["v=spf1 a -all"], "A": ["93.184.216.34"]}},
    "its mail exchangers": {
        SHOP: {"TXT": ["v=spf1 mx -all"], "MX": ["10 mx.shop.example."]},
        "mx.shop.example": {"A": ["93.184.216.34"]},
    },
    "an include of an include": _shop(
        "v=spf1 include:one.example -all",
        one_example={"TXT": ["v=spf1 include:two.example ?all"]},
        two_example={"TXT": ["v=spf1 ip4:93.184.216.34 ~all"]},
    ),
    "a redirect": _shop("v=spf1 redirect=one.example", one_example={"TXT": ["v=spf1 ip4:93.184.216.34 -all"]}),
}


@pytest.mark.parametrize("zone", ALLOWED.values(), ids=ALLOWED)
def test_a_mail_server_that_may_send(zone: Zone) -> None:
    assert _spf(zone) == Finding("SPF", True, f"{SHOP} lets {RELAY} (93.184.216.34) send its mail")


def test_a_mail_server_reached_by_ipv6() -> None:
    addresses = [ip_address("2606:2800:220:1::1")]
    assert _spf(_shop("v=spf1 ip6:2606:2800:220::/48 -all"), addresses=addresses).ok is True
    assert _spf(_shop("v=spf1 ip6:2606:2800:221::/48 -all"), addresses=addresses).ok is False
    near = {"AAAA": ["2606:2800:220:1::2"], "A": ["93.184.216.34"]}
    assert _spf(_shop("v=spf1 a:b.example/24//64 -all", b_example=near), addresses=addresses).ok is True
    assert _spf(_shop("v=spf1 a:b.example/24 -all", b_example=near), addresses=addresses).ok is None


def test_an_include_of_the_relays_own_name() -> None:
    found = _spf(_shop("v=spf1 include:spf.relay.example -all", spf_relay_example={"TXT": ["v=spf1 ip4:198.51.100.0/24 -all"]}))
    assert found == Finding("SPF", True, f"{SHOP} lets spf.relay.example send its mail, and {RELAY} belongs to it")


WRONG = {
    "none": ({SHOP: {"TXT": ["hello"]}}, "has no SPF record"),
    "no such name": ({}, "has no SPF record"),
    "two": (_shop("v=spf1 -all", "v=spf1 ~all"), "has 2 SPF records, so that none counts"),
    "everybody": (_shop("v=spf1 ip4:93.184.216.34 +all"), "lets everybody send its mail"),
    "everybody, by redirect": (_shop("v=spf1 redirect=b.example", b_example={"TXT": ["v=spf1 all"]}), "lets everybody send"),
    "everybody, by include": (_shop("v=spf1 include:b.example -all", b_example={"TXT": ["v=spf1 +all"]}), "lets everybody send"),
    "not its name": (
        _shop("v=spf1 -a:smtp.relay.example ip4:198.51.100.7 -all", smtp_relay_example={"A": ["93.184.216.34"]}),
        "lets only other addresses",
    ),
    "nobody": (_shop("v=spf1 -all"), "lets nobody send its mail"),
    "others": (_shop("v=spf1 ip4:198.51.100.7 -all"), "lets only other addresses than smtp.relay.example (93.184.216.34)"),
    "after all": (_shop("v=spf1 -all ip4:93.184.216.34"), "lets nobody send its mail"),
    "not that one": (_shop("v=spf1 -ip4:93.184.216.34 ip4:198.51.100.7 -all"), "lets only other addresses"),
    "a slip of the pen": (
        _shop("v=spf1 ipv4:93.184.216.34 -all"),
        "its SPF record has 'ipv4:93.184.216.34', which means nothing",
    ),
    "no address": (_shop("v=spf1 ip4:93.184.216 -all"), "its SPF record has 'ip4:93.184.216', which is no address"),
    "no length of a network": (
        _shop("v=spf1 a:b.example/99 -all", b_example={"A": ["10.0.0.1"]}),
        "'a:b.example/99', which is no",
    ),
    "an include that is gone": (_shop("v=spf1 include:gone.example -all"), "names gone.example, which has no SPF record"),
    "a circle": (_shop("v=spf1 include:b.example -all", b_example={"TXT": ["v=spf1 include:shop.example"]}), "names itself"),
    "too many questions": (
        _shop("v=spf1 " + " ".join(f"a:h{number}.example" for number in range(11)) + " -all"),
        "needs more than 10 questions",
    ),
}


@pytest.mark.parametrize(("zone", "words"), WRONG.values(), ids=WRONG)
def test_an_spf_record_that_is_wrong(zone: Zone, words: str) -> None:
    found = _spf(zone)
    assert found.ok is False
    assert words in found.message
    assert found.remedy


def test_ten_questions_are_not_too_many() -> None:
    zone = _shop("v=spf1 " + " ".join(f"a:h{number}.example" for number in range(10)) + " ip4:93.184.216.34 -all")
    assert _spf(zone).ok is True


def test_what_cannot_be_told_is_said_to_be_so() -> None:
    others = {"TXT": ["v=spf1 ip4:198.51.100.0/24 -all"]}
    found = _spf(_shop("v=spf1 include:mass.example -all", mass_example=others))
    assert found.ok is None
    assert "cannot be told from here" in found.message
    assert "include:mass.example" in found.remedy
    inside = _spf(_shop("v=spf1 ip4:198.51.100.7 -all"), host="postfix", addresses=INSIDE)
    assert inside.ok is None
    assert "is not seen from outside" in inside.message
    assert _spf(_shop("v=spf1 exists:%{i}.list.example -all")).ok is None


def test_what_to_publish_follows_whose_the_mail_server_is() -> None:
    assert "include:…" in _spf({}).remedy
    assert f'publish a TXT record at {SHOP}: "v=spf1 ip4:93.184.216.34 -all"' in _spf({}, host="mail.shop.example").remedy


# DKIM


def _project(folder: Path, text: bytes | None, **changes: Any) -> Project:
    table = {"selector": "winback1", "private_key": {"file": "key.pem"}, **changes}
    write_shop(folder, settings={"shop": {"email_from": f"hello@{SHOP}"}, "dkim": table})
    if text is not None:
        (folder / "key.pem").write_bytes(text)
    return load_project(folder, environ={})


def _dkim(project: Project, *texts: str) -> Finding:
    zone = {"winback1._domainkey.shop.example": {"TXT": texts}} if texts else {SHOP: {"TXT": ["hello"]}}
    with dns_server(zone) as server:
        return dkim(Names(server.address), project, project.settings.dkim[0])


def test_a_key_that_is_published(tmp_path: Path) -> None:
    project = _project(tmp_path, private_pem(rsa_key()))
    right = Finding("DKIM", True, "winback1._domainkey.shop.example has the key that signs our letters (rsa, 2048 bits)")
    assert len(rsa_key().record) > 255  # in two pieces on the wire
    assert _dkim(project, rsa_key().record) == right
    bare = rsa_key().record.replace("v=DKIM1; k=rsa; ", "t=s; s=email:other; h=sha1:sha256; n=a note; ")
    assert _dkim(project, bare, "not a key") == right
    project = _project(tmp_path, private_pem(ed25519_key()), algorithm="ed25519")
    assert _dkim(project, ed25519_key().record).ok is True


_P = rsa_key().record.partition("p=")[2]

WRONG_KEYS = {
    "nothing": ([], "there is no key at winback1._domainkey.shop.example"),
    "something else": (["v=spf1 -all"], "there is no key at"),
    "two": ([rsa_key().record, f"p={_P}"], "there are 2 keys at"),
    "another": ([f"v=DKIM1; k=rsa; p={_P[:60]}AAAA{_P[64:]}"], "has another key than the one that signs our letters"),
    "half of it": ([f"v=DKIM1; k=rsa; p={_P[:200]}"], "has another key"),
    "of another kind": ([ed25519_key().record], "has a key for ed25519, and ours is for rsa"),
    "of another record": ([rsa_key().record.replace("DKIM1", "DKIM2")], "has a record of another kind"),
    "withdrawn": (["v=DKIM1; k=rsa; p="], "is withdrawn"),
    "in trial": ([f"t=y:s; p={_P}"], "only being tested"),
    "not for mail": ([f"s=tlsrpt; p={_P}"], "is not for e-mail"),
    "not for this hash": ([f"h=sha1; p={_P}"], "does not allow SHA-256"),
}


@pytest.mark.parametrize(("texts", "words"), WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_a_key_that_is_not_published_right(texts: list[str], words: str, tmp_path: Path) -> None:
    found = _dkim(_project(tmp_path, private_pem(rsa_key())), *texts)
    assert found.ok is False
    assert words in found.message
    assert rsa_key().record in found.remedy or "two" in words or "2 keys" in words


def test_a_key_that_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    found = _dkim(_project(tmp_path, None), rsa_key().record)
    assert found.ok is False
    assert "key.pem cannot be read" in found.message


def test_a_short_key_counts_with_a_remark(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[1] / "cases/dkim/rfc8463-rsa.pem").read_bytes()
    project = _project(tmp_path, text)
    published = (
        "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
        "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
    )
    found = _dkim(project, published)
    assert found.ok is True
    assert "1024 bits" in found.message
    assert "2048 bits" in found.remedy


def test_a_relay_that_changes_letters_after_they_were_signed() -> None:
    found = rewritten("email-smtp.eu-west-1.amazonaws.com")
    assert found is not None
    assert (found.ok, "Easy DKIM" in found.remedy) == (False, True)
    assert rewritten("smtp.relay.example") is None


# DMARC


def _dmarc(zone: Zone, *, sender: str = SHOP, signed_by: Sequence[str] = (SHOP,), envelope: str = SHOP) -> Finding:
    with dns_server(zone) as server:
        return dmarc(Names(server.address), sender, signed_by, envelope)


def _policy(text: str, place: str = SHOP) -> Zone:
    return {f"_dmarc.{place}": {"TXT": [text]}}


def test_a_policy_that_letters_meet() -> None:
    found = _dmarc(_policy("v=DMARC1; p=reject; rua=mailto:a@shop.example"))
    words = "p=reject: receivers refuse what fails; our letters can pass by DKIM (signed by shop.example) and by SPF"
    assert found == Finding("DMARC", True, f"{SHOP} has {words} (bounces go to {SHOP})")
    watching = _dmarc(_policy("v=DMARC1;p=none"), envelope="bounces.relay.example")
    assert watching.ok is True
    assert watching.message.endswith("our letters can pass by DKIM (signed by shop.example)")
    assert "rua=mailto:" in watching.remedy
    assert _dmarc(_policy("v=DMARC1; p=quarantine"), signed_by=[]).message.endswith(
        "can pass by SPF (bounces go to shop.example)"
    )


def test_the_policy_of_the_domain_above() -> None:
    zone = _policy("v=DMARC1; p=none; sp=reject; rua=mailto:a@shop.example")
    found = _dmarc(zone, sender="news.shop.example", envelope="news.shop.example")
    assert found.ok is True
    assert found.message.startswith("shop.example has p=reject")


WRONG_POLICIES = {
    "none": ({SHOP: {"TXT": ["v=spf1 -all"]}}, {}, "has no DMARC record"),
    "two": ({"_dmarc.shop.example": {"TXT": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}}, {}, "has 2 DMARC records"),
    "no policy": (_policy("v=DMARC1; rua=mailto:a@b.example"), {}, "has no policy that receivers know"),
    "an unknown policy": (_policy("v=DMARC1; p=refuse"), {}, "has no policy that receivers know"),
    "nothing of ours": (
        _policy("v=DMARC1; p=reject"),
        {"signed_by": [], "envelope": "relay.example"},
        "our letters prove nothing",
    ),
    "exactly": (
        _policy("v=DMARC1; p=reject; adkim=s; aspf=s"),
        {"signed_by": ["mail.shop.example"], "envelope": "bounces.shop.example"},
        "our letters prove nothing",
    ),
}


@pytest.mark.parametrize(("zone", "ours", "words"), WRONG_POLICIES.values(), ids=WRONG_POLICIES)
def test_a_policy_that_is_wrong_or_not_met(zone: Zone, ours: dict[str, Any], words: str) -> None:
    found = _dmarc(zone, **ours)
    assert found.ok is False
    assert words in found.message
    assert found.remedy


def test_parts_of_a_domain_are_aligned_unless_the_policy_is_strict() -> None:
    parts = {"signed_by": ["mail.shop.example"], "envelope": "bounces.shop.example"}
    assert _dmarc(_policy("v=DMARC1; p=reject; adkim=r"), **parts).ok is True  # type: ignore[arg-type]


# MX and reverse DNS


def _incoming(zone: Zone) -> Finding:
    with dns_server(zone) as server:
        return hosts.incoming(Names(server.address), SHOP)


def test_where_mail_to_the_shop_goes() -> None:
    right = _incoming({SHOP: {"MX": ["20 b.example.", "10 a.example."]}})
    assert right == Finding("MX", True, f"mail to {SHOP} goes to a.example, b.example")
    assert _incoming({SHOP: {"A": ["93.184.216.34"]}}).ok is None
    for zone, words in (
        ({}, "there is no domain shop.example"),
        ({SHOP: {"TXT": ["hello"]}}, "has no MX record: answers and bounces are lost"),
        ({SHOP: {"MX": ["0 ."]}}, "takes no mail (its MX is empty)"),
    ):
        found = _incoming(zone)
        assert (found.ok, words in found.message) == (False, True)


def _reverse(zone: Zone, host: str = "mail.shop.example", addresses: Sequence[Address] = OUTSIDE) -> Finding:
    with dns_server(zone) as server:
        [found] = hosts.reverse(Names(server.address), host, addresses, SHOP)
        return found


def test_the_name_of_the_mail_servers_address() -> None:
    named = {"34.216.184.93.in-addr.arpa": {"PTR": ["mail.shop.example."]}}
    back = {"mail.shop.example": {"A": ["93.184.216.34"]}}
    assert _reverse({**named, **back}) == Finding("reverse DNS", True, "93.184.216.34 is mail.shop.example")
    assert (_reverse(named).ok, "is not at that address" in _reverse(named).message) == (False, True)
    assert (_reverse(back).ok, "has no name in the DNS (PTR)" in _reverse(back).message) == (False, True)
    # The relay's own affair.
    assert _reverse(back, host=RELAY).ok is None
    assert "is not seen from outside" in _reverse({}, addresses=INSIDE).message


# The DNS itself


def test_no_answer_is_no_verdict() -> None:
    with dns_server({SHOP: {"TXT": ["v=spf1 -all"]}}, silent=["quiet.example"], failing=["sick.example"]) as server:
        names = Names(server.address, patience=0.3)
        for name in ("quiet.example", "sick.example"):
            with pytest.raises(Silent, match=name):
                names.texts(name)
        assert names.texts(SHOP) == ["v=spf1 -all"]
        assert not names.is_dead
        assert names.texts("nowhere.example") is None
        assert names.addresses(SHOP) == []


def test_a_dns_that_never_answers_is_not_waited_for() -> None:
    with dns_server({}, silent="*") as server:
        names = Names(server.address, patience=0.2)
        before = monotonic()
        for number in range(20):
            with pytest.raises(Silent):
                names.texts(f"h{number}.example")
        assert names.is_dead
        assert {name for name, _ in server.questions} == {"h0.example", "."}
        assert monotonic() - before < 3


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", ".", "%{i}.example", "ä" * 70 + ".example"])
def test_a_name_that_cannot_be_one(name: str) -> None:
    with dns_server({}) as server:
        assert Names(server.address).texts(name) is None


@pytest.mark.parametrize("server", ["9.9.9.9", "127.0.0.1:5353", "::1", "[::1]:53"])
def test_a_server_is_named_by_its_address(server: str) -> None:
    Names(server)


@pytest.mark.parametrize("server", ["", "dns.example", "9.9.9.9:", "9.9.9.9:0", "9.9.9.9:65536", "9.9.9", "[::1"])
def test_what_is_no_address_of_a_server(server: str) -> None:
    with pytest.raises(InputError, match="is not the address of a DNS server"):
        Names(server)


def test_who_registered_a_domain() -> None:
    names = ("shop.example", "mail.shop.example", "a.b.shop.co.uk", "shop.co.uk", "smtp.ionos.de", "127.0.0.1", "localhost")
    owners = ["shop.example", "shop.example", "shop.co.uk", "shop.co.uk", "ionos.de", "0.1", "localhost"]
    assert [organisation(name) for name in names] == owners
