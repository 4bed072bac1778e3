"""Files to objects: taken whole or refused whole, with everything that is wrong."""

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.endpoints import HttpsUrl
from manifests.image import Image
from manifests.load import Invalid, Problem, is_manifest, load
from manifests.machine import Machine
from manifests.problems import MAX_PROBLEMS
from tests.manifests.growth import linear
from tests.manifests.sets import MACHINE, machine, objects, refused

_SESSION = "apiVersion: ggnet/v1\nkind: Session\nmetadata: {name: a}\n"
GOOD = machine("{macs: ['52:54:00:00:00:07']}")


def only(text: str) -> Machine:
    (one,) = objects(text)
    assert isinstance(one, Machine)
    return one


def told(text: str | bytes) -> list[tuple[int, str, str, str]]:
    return [(p.line, p.object, p.field, p.message) for p in refused(text)]


@pytest.mark.parametrize(
    "mac", ["10:20:30:40:50:59", "525400000007", "52540000e007", "000000000007", "5254.0000.0007", "5254000000e7"]
)
def test_a_plain_mac_is_never_read_as_a_number(mac: str) -> None:
    digits = mac.replace(":", "").replace(".", "")
    assert only(machine(f"{{macs: [{mac}]}}")).spec.macs[0].replace(":", "") == digits


def test_every_mac_of_two_decimal_digits_stays_a_mac() -> None:
    decimal = [f"{n:02}" for n in range(60)]
    for first, last in product(decimal[::2], decimal):
        mac = f"{first}:00:{last}:59:00:{last}"
        if int(first, 16) % 2 == 0 and mac != "00:00:00:59:00:00":
            assert only(machine(f"\n  macs:\n  - {mac}")).spec.macs == (mac,)


def test_a_machine_may_be_called_by_digits() -> None:
    assert [only(machine("{macs: ['52:54:00:00:00:07']}", name)).name for name in ("007", "1e3", "010", "no")] == [
        "007",
        "1e3",
        "010",
        "no",
    ]


def test_objects_come_in_the_order_of_kinds_and_names_whatever_the_files_are_called() -> None:
    session = "apiVersion: ggnet/v1\nkind: Session\nmetadata: {name: a}\nspec: {machine: pc07, image: demo}\n"
    pc = machine("{macs: ['52:54:00:00:00:08']}", "pc01")
    loaded = load({"a.yaml": session.encode(), "b.yaml": f"{GOOD}---\n{pc}".encode()})
    assert [one.key for one in loaded.objects] == ["Machine/pc01", "Machine/pc07", "Session/a"]
    assert loaded.origins == {"Session/a": ("a.yaml", 1), "Machine/pc07": ("b.yaml", 1), "Machine/pc01": ("b.yaml", 6)}
    assert loaded.documents == 3


def test_an_empty_set_is_a_set_of_no_documents() -> None:
    for files in ({}, {"a.yaml": b""}, {"a.yaml": b"# nothing\n---\n"}):
        assert (load(files).objects, load(files).documents) == ((), 0)


def test_everything_that_is_wrong_is_told_at_once_in_the_order_of_the_files() -> None:
    bad = (
        f"{MACHINE}metadata:\n  name: pc07\n  labels: {{a: true, 'b c': x}}\n"
        "spec:\n  mac: x\n  enabled: yes\n  firmware: BIOS\n  address: 010.1.1.1\n"
    )
    problems = refused(bad)
    assert [(p.line, p.field) for p in problems] == [
        (5, "metadata.labels.a"),
        (5, "metadata.labels['b c']"),
        (6, "spec.macs"),
        (7, "spec.mac"),
        (8, "spec.enabled"),
        (9, "spec.firmware"),
        (10, "spec.address"),
    ]
    assert {p.object for p in problems} == {"Machine/pc07"}
    with pytest.raises(Invalid) as caught:
        load({"b.yaml": bad.encode(), "a.yaml": b"{", "c.yaml": GOOD.encode()})
    assert [p.file for p in caught.value.problems] == ["a.yaml"] + ["b.yaml"] * 7


@pytest.mark.parametrize(
    ("text", "line", "field", "message"),
    [
        ("kind: Machine", 1, "apiVersion", "is missing: write apiVersion: ggnet/v1"),
        ("apiVersion: ggnet/v2\nkind: Machine", 1, "apiVersion", "is ggnet/v1, not 'ggnet/v2'"),
        ("apiVersion: ggnet/v1\nkind: Pod", 2, "kind", "is one of Network, Machine, Image, Session, not 'Pod'"),
        ("apiVersion: ggnet/v1\nkind: [Machine]", 2, "kind", "is one of Network, Machine, Image, Session, not ['Machine']"),
        ("apiVersion: ggnet/v1", 1, "kind", "is missing: one of Network, Machine, Image, Session"),
        (f"{MACHINE}metadata:\nspec: {{macs: [525400000007]}}", 3, "metadata", "is a mapping, not null"),
        (f"{MACHINE}spec: {{macs: [525400000007]}}", 1, "metadata", "is missing"),
        (f"{MACHINE}metadata: {{name: a}}", 1, "spec", "is missing"),
        (machine("{macs: 525400000007}"), 4, "spec.macs", "is a list, not '525400000007'"),
        (machine("{macs: []}"), 4, "spec.macs", "is empty"),
        (machine("{macs: [525400000007], qwertz: x}"), 4, "spec.qwertz", "is not a field here: macs, address"),
        (machine("{macs: [525400000007], adress: x}"), 4, "spec.adress", "did you mean address?"),
        (machine("{macs: [525400000007], enabled: 1}"), 4, "spec.enabled", "is true or false, not '1'"),
        (machine("{macs: [525400000007], address: null, server: [a]}"), 4, "spec.server", "['a'] is not a name"),
        (machine("{macs: [525400000007, true]}"), 4, "spec.macs[1]", "True is not a MAC address"),
        (machine("{macs: [525400000007]}", '"../etc"'), 3, "metadata.name", "'../etc' is not a name"),
        (machine("{macs: [525400000007], chap: {credential: a}}"), 4, "spec", "set spec.address"),
        (machine("{macs: [525400000007], address: 10.0.0.9, chap: {}}"), 4, "spec.chap.credential", "is missing"),
        (machine("{macs: [525400000007], address: 10.0.0.9, chap: hush}"), 4, "spec.chap", "is {credential: NAME}"),
        (
            machine("{macs: [525400000007], address: 10.0.0.9, chap: {credential: ../x}}"),
            4,
            "spec.chap.credential",
            "never the secret itself",
        ),
        (
            machine("{macs: [525400000007]}", "a, annotations: {ggnet/paused: yes}"),
            3,
            "metadata.annotations",
            "true or false",
        ),
        (
            machine("{macs: [525400000007]}", "a, annotations: {ggnet/pause: x}"),
            3,
            "metadata.annotations['ggnet/pause']",
            "is not one",
        ),
        (machine("{macs: [525400000007]}", 'a, annotations: {a: "\\0"}'), 3, "metadata.annotations.a", "U+0000"),
        (machine("{macs: [525400000007]}", 'a, annotations: {a: "\\u202e"}'), 3, "metadata.annotations.a", "U+202E"),
        (machine("{macs: [525400000007]}", "a, uid: x, owner: y"), 3, "metadata.owner", "is not a field here"),
        (
            f"{_SESSION}spec: {{machine: a, image: b, overlay_limit: 1GiB}}",
            4,
            "spec.overlay_limit",
            "did you mean overlayLimit?",
        ),
        ("- just\n- text", 1, "", "'just' is no manifest"),
        ("[null]", 1, "", "None is no manifest"),
        ("text", 1, "", "'text' is no manifest"),
    ],
)
def test_a_refusal_names_line_field_and_remedy(text: str, line: int, field: str, message: str) -> None:
    first = told(text)[0]
    assert (first[0], first[2]) == (line, field)
    assert message in first[3]


_NETWORK = "apiVersion: ggnet/v1\nkind: Network\nmetadata: {name: main}\nspec:\n  cidr: 10.77.0.0/24\n"


@pytest.mark.parametrize(
    ("rest", "field", "message"),
    [
        ("", "spec.serverAddress", "is missing"),
        ("  serverAddress: 10.78.0.1", "spec.serverAddress", "10.78.0.1 is outside 10.77.0.0/24"),
        ("  serverAddress: 10.77.0.0", "spec.serverAddress", "first or last address"),
        ("  serverAddress: 10.77.0.1\n  gateway: 10.77.0.255", "spec.gateway", "first or last address"),
        ("  serverAddress: 10.77.0.1\n  gateway: 10.78.0.1", "spec.gateway", "is outside"),
        ("  serverAddress: 10.77.0.1\n  range: {start: 10.77.0.9, end: 10.77.0.3}", "spec.range", "after its end"),
        ("  serverAddress: 10.77.0.1\n  range: {start: 10.77.0.9, end: 10.78.0.3}", "spec.range", "is outside"),
        ("  serverAddress: 10.77.0.1\n  range: {start: 10.77.0.9, end: 10.77.0.255}", "spec.range", "first or last"),
        (
            "  serverAddress: 10.77.0.9\n  range: {start: 10.77.0.8, end: 10.77.0.10}",
            "spec.range",
            "serverAddress 10.77.0.9",
        ),
        (
            "  serverAddress: 10.77.0.1\n  gateway: 10.77.0.9\n  range: {start: 10.77.0.8, end: 10.77.0.10}",
            "spec.range",
            "gateway 10.77.0.9",
        ),
    ],
)
def test_a_network_must_agree_with_itself(rest: str, field: str, message: str) -> None:
    ((_, key, where, what),) = told(_NETWORK + rest)
    assert (key, where) == ("Network/main", field)
    assert message in what


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{}", "write one of path, upload and url"),
        ("{path: a, upload: 0d5e0a2e8f0b4a2e9b7e2f6f0c1d2e3f}", "has path and upload: write one of"),
        ("{upload: abc}", "is not an upload"),
        ("{url: 'https://x/y'}", "has a url without sha256"),
        (f"{{url: 'https://x/y', path: a, sha256: {'a' * 64}}}", "has path and url: write one of"),
        (f"{{url: 'http://x/y', sha256: {'a' * 64}}}", "only https"),
        (f"{{url: 'https://me:secret@x/y', sha256: {'a' * 64}}}", "no user name"),
        (f"{{url: 'https://x/y#part', sha256: {'a' * 64}}}", "no fragment"),
        (f"{{url: 'https://x:22/y', sha256: {'a' * 64}}}", "another service's"),
        (f"{{url: 'https://0x7f.1/y', sha256: {'a' * 64}}}", "the host is a number"),
        (f"{{url: 'file:///etc/shadow', sha256: {'a' * 64}}}", "write it like https://"),
        (f"{{url: 7, sha256: {'a' * 64}}}", "write it like https://"),
        ("{path: a, sha256: y}", "is not a sha256"),
        ("{path: ../secret}", "below the import folder"),
        ("{path: /etc/shadow}", "below the import folder"),
        ("{path: 'a//b'}", "below the import folder"),
        ("{path: 'a\\b'}", "below the import folder"),
        ('{path: "a\\nb"}', "below the import folder"),
        ('{path: "a\\0"}', "below the import folder"),
        ("{path: ''}", "is empty"),
        (f"{{path: {'a' * 256}}}", "at most 255"),
    ],
)
def test_an_image_comes_from_one_place_that_is_spelt_right(source: str, message: str) -> None:
    ((_, _, field, what),) = told(f"apiVersion: ggnet/v1\nkind: Image\nmetadata: {{name: a}}\nspec: {{source: {source}}}")
    assert field.startswith("spec.source")
    assert message in what


@pytest.mark.parametrize(
    "chap", ["hush-hush-hush", "[hush-hush-hush]", "{credential: Hush-hush-hush}", "{password: hush-hush}"]
)
def test_what_somebody_wrote_in_the_place_of_a_secrets_name_is_not_repeated(chap: str) -> None:
    problems = told(machine(f"{{macs: [525400000007], address: 10.0.0.9, chap: {chap}}}"))
    assert problems
    assert "hush" not in str(problems).lower()


def test_a_url_has_one_spelling_and_its_secrets_stand_in_no_error() -> None:
    head = "apiVersion: ggnet/v1\nkind: Image\nmetadata: {name: a}\nspec: {source: "
    (image,) = objects(f"{head}{{url: 'HTTPS://Images.Example:443/a?b=c', sha256: {'A' * 64}}}}}")
    assert isinstance(image, Image)
    assert (image.spec.source.url, image.spec.source.sha256) == ("https://images.example/a?b=c", "a" * 64)
    for hostile in ("\n", "\0", " ", "\u2028", '"', "{", "\\", "é"):
        with pytest.raises(ValueError, match="write it like"):
            HttpsUrl.parse(f"https://x/y{hostile}")
    for url in ("https://me:secret@x/y", "https://x/y?token=secret#a", "http://x/y?token=secret"):
        assert "secret" not in str(told(f"{head}{{url: '{url}', sha256: {'a' * 64}}}}}"))


def test_what_only_the_server_may_say_is_dropped_and_never_believed() -> None:
    plain = only(GOOD)
    claimed = GOOD.replace(
        "{name: pc07}",
        "{name: pc07, uid: u, generation: 9, resourceVersion: 12, createdAt: never, managedBy: git:x, deletedAt: [x]}",
    )
    loaded = load({"m.yaml": f"{claimed}status: {{phase: Active, nonsense: [1]}}\n".encode()})
    assert loaded.objects == (plain,)
    assert loaded.expect == {"Machine/pc07": 12}


@pytest.mark.parametrize("version", ["x", "-1", "1.5", "'１２'", "null", "[1]", "9" * 5000])
def test_a_resource_version_that_is_none_expects_nothing(version: str) -> None:
    assert load({"m": GOOD.replace("pc07}", f"pc07, resourceVersion: {version}}}").encode()}).expect == {}


def test_one_key_twice_names_both_places() -> None:
    with pytest.raises(Invalid) as caught:
        load({"b.yaml": GOOD.encode(), "a.yaml": f"# first\n{GOOD}".encode()})
    assert str(caught.value) == "b.yaml:1: Machine/pc07 metadata.name: stands in this set twice, first in a.yaml:2"


def test_a_duplicate_key_refuses_a_set_that_would_be_valid_without_it() -> None:
    assert [p.message for p in refused(f"{GOOD}kind: Machine\n")] == ["'kind' stands here twice, first in line 2"]


def test_json_is_read_with_its_lines() -> None:
    text = (
        '{"items": [\n{"apiVersion": "ggnet/v1", "kind": "Machine", "metadata": {"name": "a"},\n"spec": {"macs": ["x"]}}]}'
    )
    (problem,) = refused(text.encode(), "list.json")
    assert (problem.line, problem.object, problem.field) == (3, "Machine/a", "spec.macs[0]")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.yaml", True),
        ("room/b.yml", True),
        ("c.json", True),
        (".hidden.yaml", False),
        (".git/a.yaml", False),
        ("room/.swp/b.yaml", False),
        ("a.yaml~", False),
        ("README.md", False),
        ("yaml", False),
        (".yaml", False),
    ],
)
def test_only_visible_yaml_and_json_files_are_manifests(name: str, expected: bool) -> None:
    assert is_manifest(name) is expected


def test_a_set_beyond_the_limit_is_not_looked_into() -> None:
    with pytest.raises(Invalid, match="a set has at most"):
        load({f"{n}.yaml": b"#" * (16 << 20) for n in range(5)})


def test_a_flood_of_problems_is_cut_and_counted() -> None:
    problems = refused("---\ntext\n" * (MAX_PROBLEMS + 5))
    assert len(problems) == MAX_PROBLEMS
    assert problems[-1].message == "and 6 more problems"


def test_a_hostile_file_name_stays_on_the_line_of_its_problem() -> None:
    problem = Problem("a\nb\x1b[31m.yaml", 3, "", "", "text")
    assert str(problem) == r"a\nb\x1b[31m.yaml:3: text"


def test_reading_costs_the_same_for_each_document_however_many_there_are() -> None:
    def files(count: int) -> dict[str, bytes]:
        return {"m": "---\n".join(machine(f"{{macs: ['{n:012x}']}}", f"pc{n}") for n in range(2, count)).encode()}

    assert linear(load, files, 500)


_words = st.sampled_from(
    [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "name",
        "labels",
        "annotations",
        "macs",
        "source",
        "range",
        "items",
        "ggnet/v1",
        *("Machine", "Network", "Image", "Session", "status", "path", "ggnet/paused", "x\n", "", "../x", "０", "a" * 5000),
    ]
)
_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=12,
)


def problems_of(files: dict[str, bytes]) -> tuple[Problem, ...]:
    """Empty for a set that is taken; nothing but Invalid may come out."""
    try:
        load(files)
    except Invalid as invalid:
        return invalid.problems or (Problem("", 0, "", "", "refused without a problem"),)
    return ()


@given(st.dictionaries(st.sampled_from(["a.yaml", "b.json"]), st.binary(max_size=120) | st.text().map(str.encode)))
def test_any_files_are_objects_or_problems(files: dict[str, bytes]) -> None:
    assert all(problem.file in files and problem.message for problem in problems_of(files))


@given(st.sampled_from(["Network", "Machine", "Image", "Session"]), _trees, _trees)
def test_any_tree_under_a_known_kind_is_an_object_or_has_problems_that_can_be_shown(
    kind: str, meta: object, spec: object
) -> None:
    tree = {"apiVersion": "ggnet/v1", "kind": kind, "metadata": meta, "spec": spec}
    for problem in problems_of({"a.json": json.dumps(tree).encode()}):
        assert str(problem).isprintable()
        assert len(str(problem)) < 600
