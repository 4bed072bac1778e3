"""The manual in a browser: ``/docs`` (which can sign in and try things) and ``/redoc``, from ``/openapi.json``.

Their scripts come from this server: a boot server may have no way out, and a page that signs people in runs nobody else's
code. All that a page runs is named in its policy, the small scripts in it by their digest.

The document is made when it is first asked for, and in a thread: to make it takes as long as thousands of other answers.
"""

import base64
import hashlib
import re
from importlib.resources import files
from pathlib import Path

import anyio
from anyio import to_thread
from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from api.complete import complete
from api.edge import fresh
from controller.ports.store import NotFound

REDIRECT = "/docs/oauth2-redirect"
_OURS = "/docs/assets"
_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js")
_TYPES = {".js": "application/javascript", ".css": "text/css"}
_NO_ICON = "data:,"
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def installed() -> Path:
    """The folder with the pages' scripts."""
    return Path(str(files("fastapi_offline"))) / "static"


class Manual:
    def __init__(self, app: FastAPI, folder: Path) -> None:
        self._app, self._title, self._folder = app, app.title, folder
        self._document: bytes | None = None
        self._making = anyio.Lock()
        app.add_route("/openapi.json", self.document, include_in_schema=False)
        app.add_route("/docs", self.swagger, include_in_schema=False)
        app.add_route("/redoc", self.redoc, include_in_schema=False)
        app.add_route(REDIRECT, self.redirect, include_in_schema=False)
        app.add_route(f"{_OURS}/{{file}}", self.asset, include_in_schema=False)

    async def document(self, request: Request) -> Response:
        """Made once, while all who ask for it wait; others are answered meanwhile."""
        async with self._making:
            if self._document is None:
                await complete(self._app)
                self._document = await to_thread.run_sync(self._made)
        return _fresh(request, self._document, "application/json", "private, no-cache")

    async def swagger(self, _: Request) -> Response:
        return self._page(
            get_swagger_ui_html(
                openapi_url="/openapi.json",
                title=self._title,
                swagger_js_url=f"{_OURS}/swagger-ui-bundle.js",
                swagger_css_url=f"{_OURS}/swagger-ui.css",
                swagger_favicon_url=_NO_ICON,
                oauth2_redirect_url=REDIRECT,
            )
        )

    async def redoc(self, _: Request) -> Response:
        return self._page(
            get_redoc_html(
                openapi_url="/openapi.json",
                title=self._title,
                redoc_js_url=f"{_OURS}/redoc.standalone.js",
                redoc_favicon_url=_NO_ICON,
                with_google_fonts=False,
            )
        )

    async def redirect(self, _: Request) -> Response:
        return self._page(get_swagger_ui_oauth2_redirect_html())

    async def asset(self, request: Request) -> Response:
        """NotFound."""
        name = request.path_params["file"]
        if name not in _FILES:
            raise NotFound("There is no such file of the manual.")
        content = (self._folder / name).read_bytes()
        return _fresh(request, content, _TYPES[Path(name).suffix], "public, max-age=3600")

    def _made(self) -> bytes:
        return bytes(JSONResponse(self._app.openapi()).body)

    def _page(self, page: HTMLResponse) -> Response:
        """Swagger UI and ReDoc set styles of their own and draw with ``data:``; ReDoc searches in a worker."""
        own = " ".join(_digest(script) for script in _SCRIPT.findall(bytes(page.body).decode()))
        page.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' {own}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            "font-src 'self' data:; connect-src 'self'; worker-src blob:; frame-ancestors 'none'; base-uri 'none'; "
            "form-action 'self'"
        )
        return page


def _fresh(request: Request, content: bytes, media_type: str, caching: str) -> Response:
    etag = fresh.tag(content)
    headers = {"ETag": etag.decode(), "Cache-Control": caching}
    if fresh.has(request.headers.get("if-none-match", "").encode(), etag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def _digest(script: str) -> str:
    """CSP 3, 2.3.1."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
