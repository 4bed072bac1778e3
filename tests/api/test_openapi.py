"""The API against its own description, by a tester that nobody here wrote, signed in as an administrator.

What is sent is partly right and partly wrong; every answer must be one that the description has, in the shape that it
has, and no server error. That what fits the schema is also accepted is not asked: names that lead nowhere, taken
addresses and versions gone by are refused by rule, with documented answers.
"""

import copy
import gc
import json
import time
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from api import problems
from api.loop import LOOP
from api.uploads import tus
from controller.adapters.clock import SystemClock
from controller.core.observed import Observed
from controller.core.snapshot import dumps
from manifests.kinds import KINDS
from manifests.load import load
from manifests.references import check
from tests.api.served import SITE, Served, serving, session, several
from tests.api.test_doors_are_closed import application
from tests.api.test_health import swept
from tests.api.warm import Warm

_REFUSALS = {"401", "403", "422", "429", "503"}
_CHECKS = (
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_headers_conformance,
    schemathesis.checks.response_schema_conformance,
    schemathesis.checks.negative_data_rejection,
)
_ENDLESS = ("/api/v1/watch", "/api/v1/auth/logout")


@schemathesis.serializer(tus.MEDIA)
def piece(context: Any, value: Any) -> bytes:
    """Of a file, as it is."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def described(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("described"), warm) as served:
        served.lead()
        served.apply(several(SITE, session(7)))
        empty = Observed(complete=frozenset({"pool", "lio", "tftp", "dhcp"}))
        served.observe({**dumps(empty), **swept(SystemClock().now(), served.lease[0].epoch)})
        yield served


@pytest.fixture(scope="module")
def document(described: Served) -> dict[str, Any]:
    with described.http as http:
        found: dict[str, Any] = json.loads(http.get("/openapi.json").text)
    return found


@pytest.mark.timeout(300)
def test_every_answer_is_one_that_is_described(described: Served, document: dict[str, Any]) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=described.url)
    headers = {"Authorization": f"Bearer {described.token}"}
    found: dict[str, str] = {}
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        if operation.path in _ENDLESS:
            continue

        def ask(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=list(_CHECKS))

        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            test = settings(
                max_examples=4,
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(given(case=operation.as_strategy(generation_mode=mode))(ask))
            try:
                test()
                tried += 1
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, operation.label  # it takes nothing that could be wrong
            except FailureGroup as group:
                found[f"{operation.label} ({mode.value})"] = "; ".join(str(one)[:300] for one in group.exceptions)
    assert tried > 100
    assert found == {}, "\n".join(f"{label}: {what}" for label, what in found.items())


def test_the_description_is_valid_and_says_all_of_each_operation(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert list(faults(document)) == []


def faults(document: dict[str, Any]) -> Iterator[str]:
    """What an operation lacks, and each example that its own schema does not allow."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for member in ("tags", "summary"):
                if not operation.get(member):
                    yield f"{method} {path}: {member}"
            if missing := _REFUSALS - operation["responses"].keys():
                yield f"{method} {path}: {sorted(missing)}"
            for place, content, media in bodies(document, operation):
                for wrong in wrongs(document, place, content, media):
                    yield f"{method} {path}: {place} {content}: {wrong}"


def bodies(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """``body`` or the status, media type, and what is said of it: nothing of one that should be there and is not."""
    told = {"body": operation["requestBody"]} if "requestBody" in operation else {}
    for place, one in {**told, **operation["responses"]}.items():
        found = followed(document, one).get("content", {})
        least = [problems.MEDIA_TYPE] if place[0] in "45" else [] if found or place == "204" else ["application/json"]
        for name, media in {**{name: {} for name in least}, **found}.items():
            yield place, name, media


def wrongs(document: dict[str, Any], place: str, content: str, media: dict[str, Any]) -> Iterator[str]:
    shown = examples(document, media)
    if not shown:
        yield "no example"
    schema = Draft202012Validator({"components": document["components"], **media.get("schema", {})})
    for example in shown:
        yield from (error.message for error in schema.iter_errors(example))
        if content == problems.MEDIA_TYPE and str(example["status"]) != place:
            yield f"an example of {example['status']}"


def examples(document: dict[str, Any], media: dict[str, Any]) -> list[Any]:
    """The media type's own, or its schema's."""
    if "examples" in media:
        return [followed(document, one)["value"] for one in media["examples"].values()]
    told = media if "example" in media else followed(document, media.get("schema", {}))
    return [told["example"]] if "example" in told else told.get("examples", [])


def followed(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """What stands where a ``$ref`` leads."""
    if "$ref" not in node:
        return node
    return reduce(getitem, node["$ref"].removeprefix("#/").split("/"), document)


def test_an_example_that_is_missing_or_wrong_would_be_found(document: dict[str, Any]) -> None:
    broken = copy.deepcopy(document)
    del broken["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    del broken["paths"]["/api/v1/drift"]["get"]["responses"]["401"]
    del broken["components"]["examples"]["MachineAnswer"]["value"]["spec"]["macs"]
    broken["components"]["schemas"]["NewUser"]["example"]["role"] = "ROOT"
    found = "\n".join(faults(broken))
    assert "get /api/v1/events: 200 application/json: no example" in found
    assert "get /api/v1/drift: ['401']" in found
    assert "post /api/v1/machines: 201 application/json: 'macs' is a required property" in found
    assert "post /api/v1/users: body application/json: 'ROOT' is not one of" in found


def test_the_manifests_that_it_shows_are_taken(document: dict[str, Any]) -> None:
    shown = {name: one["value"] for name, one in document["components"]["examples"].items()}
    for kind in KINDS:
        (item,) = load({"shown.json": json.dumps(shown[kind]).encode()}).objects
        (answered,) = load({"shown.json": json.dumps(shown[f"{kind}Answer"]).encode()}).objects
        assert answered == item
    whole = load({"shown.yaml": shown["Site.yaml"].encode()})
    assert check(whole.objects, whole.origins) == ()
    assert all(one in whole.objects for one in load({"shown.json": json.dumps(shown["Site.json"]).encode()}).objects)


def test_the_loop_goes_on_while_the_document_is_made(tmp_path: Path) -> None:
    """Made in the loop it would stand still for a second or more, and so would every other request."""
    lateness = [0.0]

    async def look() -> None:
        while True:
            began = time.thread_time()  # what the loop itself does: the machine may be busy
            await anyio.sleep(0.005)
            lateness.append(time.thread_time() - began)

    async def ask() -> list[httpx.Response]:
        app = application(tmp_path)
        transport, answers = httpx.ASGITransport(app, client=("127.0.0.1", 1)), list[httpx.Response]()

        async def get(**headers: str) -> None:
            answers.append(await http.get("/openapi.json", headers=headers))

        async with httpx.AsyncClient(transport=transport, base_url="http://door") as http:
            async with anyio.create_task_group() as looking:
                looking.start_soon(look)
                async with anyio.create_task_group() as asking:
                    asking.start_soon(get)
                    asking.start_soon(get)
                looking.cancel_scope.cancel()
            await get(**{"If-None-Match": answers[0].headers.get("etag", "")})
        await app.state.door.store.close()
        return answers

    gc.collect()
    gc.freeze()  # as the daemon does: what other tests have piled up is not searched for garbage meanwhile
    try:
        one, other, again = anyio.run(ask, backend_options=LOOP)
    finally:
        gc.unfreeze()
    assert max(lateness) < 0.25
    assert (one.status_code, one.content) == (200, other.content)
    assert again.status_code == 304
