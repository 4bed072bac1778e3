"""The way to other people's web servers, against servers that lie: names, redirects, bodies, time, certificates."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from controller.adapters.notices_http import HttpCourier
from controller.adapters.resolver import SystemResolver
from controller.core.addresses import networks
from controller.ports.notices import NotDelivered, Refused
from tests.controller.shell.outboxes import Names
from tests.receivers import OK, Receiver, answer, receiving

pytestmark = pytest.mark.anyio
LOOPBACK = networks("127.0.0.0/8")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


def courier(
    *answers: list[str], allowed: str = "127.0.0.0/8", tls: ssl.SSLContext | None = None, seconds: float = 20
) -> HttpCourier:
    names = Names(list(answers) or [["127.0.0.1"]])
    return HttpCourier(names, networks(allowed), connect_seconds=20, seconds=seconds, tls=tls)


async def test_the_connection_goes_to_the_checked_address_under_the_given_name(receiver: Receiver) -> None:
    status = await courier().send(f"http://hook.example:{receiver.port}/a?b=c", {"webhook-id": "m"}, b"{}")
    (request,) = receiver.requests
    assert (status, request.target, request.body) == (204, "/a?b=c", b"{}")
    assert request.headers["host"] == f"hook.example:{receiver.port}"
    assert "accept" not in request.headers or request.headers["accept"] == "*/*"


async def test_a_name_that_was_public_and_is_private_now_is_refused(receiver: Receiver) -> None:
    rebinding = courier(["93.184.216.34"], ["127.0.0.1"], allowed="")
    url = f"https://hook.example:{receiver.port}/"
    await rebinding.vet(url)
    with pytest.raises(Refused, match=r"127\.0\.0\.1 is loopback.*GGNET_WEBHOOK_ALLOW"):
        await rebinding.send(url, {}, b"{}")
    assert receiver.connections == 0


async def test_a_name_is_looked_up_once_for_a_try(receiver: Receiver) -> None:
    names = Names([["127.0.0.1"], ["10.0.0.1"]])
    sender = HttpCourier(names, LOOPBACK, connect_seconds=20, seconds=20)
    assert await sender.send(f"http://hook.example:{receiver.port}/", {}, b"{}") == 204
    assert names.asked == 1


@pytest.mark.parametrize(
    "other", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "64:ff9b::7f00:1", "fe80::1%lo", "here"]
)
async def test_one_bad_address_among_good_ones_refuses_all(receiver: Receiver, other: str) -> None:
    with pytest.raises(Refused):
        await courier(["93.184.216.34", other], allowed="").send(f"https://hook.example:{receiver.port}/", {}, b"{}")
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "[::]", "169.254.169.254"])
async def test_an_address_in_the_url_is_refused_without_asking_anybody(receiver: Receiver, host: str) -> None:
    names = Names()
    with pytest.raises(Refused):
        await HttpCourier(names, ()).send(f"https://{host}:{receiver.port}/", {}, b"{}")
    assert (receiver.connections, names.asked) == (0, 0)


async def test_this_hosts_own_resolver_finds_loopback_and_that_is_refused() -> None:
    with pytest.raises(Refused, match="loopback"):
        await HttpCourier(SystemResolver(), ()).vet("https://localhost/")
    with pytest.raises(NotDelivered, match="does not resolve"):
        await HttpCourier(SystemResolver(), ()).vet("https://nowhere.invalid/")


async def test_plain_http_goes_only_where_it_was_allowed(receiver: Receiver) -> None:
    with pytest.raises(Refused, match="use https"):
        await courier(["93.184.216.34"]).vet("http://hook.example/")
    await courier(["93.184.216.34"]).vet("https://hook.example/")
    await courier(["127.0.0.1"]).vet(receiver.url)


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:{port}/inside", "https://example.org/", "//127.0.0.1:{port}/", "/again"]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_followed_nowhere(receiver: Receiver, where: str, status: int) -> None:
    async with receiving() as inside:
        receiver.behave = lambda request: answer(status, f"location: {where.format(port=inside.port)}")
        with pytest.raises(NotDelivered, match="redirects are not followed") as caught:
            await courier().send(receiver.url, {}, b"{}")
        assert caught.value.status == status
        assert (len(receiver.requests), inside.connections) == (1, 0)


async def test_no_proxy_of_the_environment_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert await courier().send(receiver.url, {}, b"{}") == 204
        assert proxy.connections == 0


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000, b"\0" * 4096])
async def test_what_is_no_http_is_a_failure(receiver: Receiver, said: bytes) -> None:
    receiver.behave = lambda request: said
    with pytest.raises(NotDelivered):
        await courier().send(receiver.url, {}, b"{}")


async def test_of_an_endless_answer_no_more_than_a_little_is_read() -> None:
    """It stalls after 64 kB: who waits for the rest runs out of time."""
    stopping = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\ncontent-encoding: gzip\r\n\r\n" + bytes(65536))
        await stopping.wait()
        writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    assert await courier().send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}, b"{}") == 200
    stopping.set()
    server.close()
    await anyio.sleep(0.05)


async def test_a_receiver_that_never_answers_costs_so_much_time_and_no_more(receiver: Receiver) -> None:
    receiver.behave = lambda request: None
    with anyio.fail_after(10), pytest.raises(NotDelivered, match="no answer"):
        await courier(seconds=0.5).send(receiver.url, {}, b"{}")


async def test_a_receiver_that_drips_is_cut_off(receiver: Receiver) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(40):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await anyio.sleep(0.02)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with anyio.fail_after(10), pytest.raises(NotDelivered, match=r"no answer within 0\.5 s"):
        await courier(seconds=0.5).send(f"http://127.0.0.1:{port}/", {}, b"{}")
    server.close()
    await anyio.sleep(0.5)  # until it has noticed


async def test_nobody_there_is_a_failure_that_says_so() -> None:
    with pytest.raises(NotDelivered, match="no connection"):
        await courier().send("http://127.0.0.1:1025/", {}, b"{}")


async def test_of_two_addresses_the_second_is_tried_when_the_first_does_not_listen(receiver: Receiver) -> None:
    url = f"http://hook.example:{receiver.port}/"
    assert await courier(["127.0.0.2", "127.0.0.1"]).send(url, {}, b"{}") == 204


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
async def test_any_other_answer_is_a_failure_with_its_status(receiver: Receiver, status: int) -> None:
    receiver.behave = lambda request: answer(status, body=b"<html>do not keep me</html>")
    with pytest.raises(NotDelivered, match=f"^answered {status}$") as caught:
        await courier().send(receiver.url, {}, b"{}")
    assert caught.value.status == status


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For hook.example and 127.0.0.9, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=hook.example", "-addext", "subjectAltName=DNS:hook.example,IP:127.0.0.9"]
    subprocess.run([*words, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


async def test_tls_is_checked_for_the_name_though_the_address_was_dialled(certificate: Path) -> None:
    asked = list[str | None]()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    server.sni_callback = lambda sock, name, context: asked.append(name)
    ours = ssl.create_default_context(cafile=str(certificate))
    async with receiving(tls=server) as receiver:
        assert await courier(tls=ours).send(f"https://hook.example:{receiver.port}/", {}, b"{}") == 204
        assert asked == ["hook.example"]
        with pytest.raises(NotDelivered, match=r"TLS.*certificate"):
            await courier(tls=ours).send(f"https://other.example:{receiver.port}/", {}, b"{}")
        with pytest.raises(NotDelivered, match=r"TLS.*certificate"):
            await courier(tls=ours).send(f"https://127.0.0.1:{receiver.port}/", {}, b"{}")
        with pytest.raises(NotDelivered, match=r"TLS.*self-signed"):
            await courier().send(f"https://hook.example:{receiver.port}/", {}, b"{}")
        assert len(receiver.requests) == 1


async def test_an_address_in_the_url_is_what_its_certificate_must_name(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    ours = ssl.create_default_context(cafile=str(certificate))
    async with receiving("127.0.0.9", tls=server) as receiver:
        receiver.behave = lambda request: OK
        assert await courier(tls=ours).send(f"https://127.0.0.9:{receiver.port}/", {}, b"{}") == 204
