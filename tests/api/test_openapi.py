"""The API against its own description, by a tester that nobody here wrote, signed in as an administrator.

What is sent is partly right and partly wrong; every answer must be one that the description has, in the shape that it
has, and no server error. That what fits the schema is also accepted is not asked: names that lead nowhere, taken
addresses and versions gone by are refused by rule, with documented answers.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from controller.adapters.clock import SystemClock
from controller.core.snapshot import dumps
from controller.core.world import Observed
from tests.api.served import SITE, Served, serving, session, several
from tests.api.test_health import swept
from tests.api.warm import Warm

_METHODS = ("get", "put", "post", "patch", "delete")
_CHECKS = (
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_headers_conformance,
    schemathesis.checks.response_schema_conformance,
    schemathesis.checks.negative_data_rejection,
)
_ENDLESS = ("/api/v1/watch", "/api/v1/auth/logout")


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
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                assert operation.get("tags"), (method, path)
                assert operation.get("summary"), (method, path)
                assert {"401", "403", "429", "503"} <= set(operation["responses"]), (method, path)
