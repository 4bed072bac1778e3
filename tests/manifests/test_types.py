"""Values with an invariant: what is read, the one spelling that is kept, what can never get in."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.types import Cidr, Domain, Duration, Hostname, Ipv4, Iqn, Mac, Name, Size
from manifests.versions import ImageRef
from tests import strategies

TEXTS = (Name, Hostname, Mac, Ipv4, Cidr, Iqn, Domain, ImageRef)
GOOD = {
    Name: "pc07",
    Hostname: "pc07",
    Mac: "52:54:00:00:00:07",
    Ipv4: "10.77.0.57",
    Cidr: "10.77.0.0/24",
    Iqn: "iqn.2026-01.internal.ggnet:lab:client:pc07",
    Domain: "lab.example.net",
    ImageRef: "win11@v3",
}
_TEXTS_LIKE = {
    kind: st.from_regex(re.compile(kind.pattern, re.ASCII), fullmatch=True) | st.text(max_size=20) for kind in TEXTS
}
HOSTILE = [
    "",
    " ",
    "../../etc/passwd",
    "a/b",
    "a\x00b",
    'pc"; option domain-name "x',
    "pc07 }",
    "{pc07",
    "pc07;",
    "${net0/mac}",
    "`id`",
    "$(id)",
    "pc07'",
    "a" * 10_000,
    "рс07",  # Cyrillic
    "pc０７",  # fullwidth digits
    "pc०७",  # Devanagari digits
    "ﬁle",
    "PC07\u202e",
    "pc\u00ad07",
    "-pc07",
    "pc07-",
    ".",
    "..",
    "\ud800",
]


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_a_hostile_text_is_no_value_and_the_refusal_can_be_shown(kind: type[Name], hostile: str) -> None:
    with pytest.raises(ValueError, match=r"^[ -~]{1,220}$"):
        kind.parse(hostile)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("end", ["\n", "\r", " ", "\x00", "\t", "\u2028", "\n\n", "/", '"', "}", ";", "`"])
def test_a_good_value_with_something_behind_or_before_it_is_refused(kind: type[Name], end: str) -> None:
    assert kind.parse(GOOD[kind]) == GOOD[kind]
    for text in (GOOD[kind] + end, end + GOOD[kind]):
        with pytest.raises(ValueError, match="not a"):
            kind.parse(text)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("value", [None, True, 7, 1.5, b"pc07", ["pc07"], {"a": 1}])
def test_only_text_is_read_as_text(kind: type[Name], value: object) -> None:
    with pytest.raises(ValueError, match="not a"):
        kind.parse(value)


@pytest.mark.parametrize("kind", TEXTS)
@settings(max_examples=50)
@given(st.data())
def test_whatever_is_read_is_kept_as_plain_ascii_and_read_again_as_itself(kind: type[Name], data: st.DataObject) -> None:
    text = data.draw(_TEXTS_LIKE[kind])
    try:
        value = kind.parse(text)
    except ValueError:
        return
    assert kind.parse(str(value)) == value
    assert re.fullmatch(r"[a-z0-9.:/@-]+", value)


@pytest.mark.parametrize(
    "spelling",
    ["52:54:00:AB:cd:07", "52-54-00-ab-cd-07", "5254.00ab.cd07", "525400abcd07", "525400ABCD07"],
)
def test_every_notation_of_a_mac_is_kept_as_one(spelling: str) -> None:
    assert Mac.parse(spelling) == "52:54:00:ab:cd:07"


@pytest.mark.parametrize("text", ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "000000000000"])
def test_what_no_card_can_have_is_no_mac(text: str) -> None:
    with pytest.raises(ValueError, match=r"multicast|nobody"):
        Mac.parse(text)


@given(strategies.macs)
def test_a_mac_in_hyphens_is_the_same_mac(mac: Mac) -> None:
    assert Mac.parse(mac.hyphens) == mac


@pytest.mark.parametrize("text", ["010.77.0.1", "10.77.0", "10.77.0.256", "10.77.0.1.1", "0x0a.1.1.1", "167772161", "::1"])
def test_an_address_is_four_decimal_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="not an IPv4 address"):
        Ipv4.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "10.77.0.1/24",
        "10.0.0.0/7",
        "10.0.0.0/31",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/08",
        "224.0.0.0/8",
        "0.0.0.0/8",
        "10.0.0.0",
    ],
)
def test_a_network_is_one_that_can_hold_pcs(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an IPv4 network|host bits|no address"):
        Cidr.parse(text)


@given(strategies.addresses)
def test_an_address_as_a_number_orders_as_its_octets(address: Ipv4) -> None:
    assert int(address).to_bytes(4, "big") == bytes(map(int, address.split(".")))


@pytest.mark.parametrize(
    "text", ["iqn.2026-01.internal", "iqn.2026-13.a.b", "iqn.2026-01.a..b", "iqn.2026-01.a.b:c_d", "eui.0123456789abcdef"]
)
def test_an_iqn_that_a_witness_would_choke_on_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an IQN"):
        Iqn.parse(text)


def test_an_iqn_ends_at_223_bytes() -> None:
    longest = "iqn.2026-01.internal.ggnet:" + "a" * 196
    assert len(Iqn.parse(longest)) == 223
    with pytest.raises(ValueError, match="not an IQN"):
        Iqn.parse(longest + "a")


@pytest.mark.parametrize(("text", "kept"), [("1024MiB", "1GiB"), ("1536MiB", "1536MiB"), ("20GiB", "20GiB"), ("1B", "1B")])
def test_a_size_is_kept_in_its_largest_exact_unit(text: str, kept: str) -> None:
    assert str(Size.parse(text)) == kept


@pytest.mark.parametrize("text", ["0s", "8", "8H", "-8h", "1.5h", "08h", "８h", "9" * 15 + "d", "1h30m", "h", "8h\n"])
def test_a_duration_is_a_positive_number_with_one_unit(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        Duration.parse(text)


@given(strategies.sizes, strategies.durations)
def test_sizes_and_durations_read_back_what_they_print(size: Size, duration: Duration) -> None:
    assert Size.parse(str(size)) == size
    assert Duration.parse(str(duration)) == duration


def test_an_image_reference_gives_its_image_and_its_pin() -> None:
    pinned, newest = ImageRef.parse("win11@v3"), ImageRef.parse("win11")
    assert (pinned.image, pinned.version) == ("win11", 3)
    assert (newest.image, newest.version) == ("win11", None)


@pytest.mark.parametrize(
    "text", ["win11@", "win11@3", "win11@v0", "win11@v03", "win11@v", "@v3", "win11@v3@v4", "win11@v９"]
)
def test_a_pin_is_a_version_number(text: str) -> None:
    with pytest.raises(ValueError, match="not an image"):
        ImageRef.parse(text)
