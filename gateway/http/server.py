"""The Litestar application around the mount."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Litestar, Request, Response, Router, asgi
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi import OpenAPIConfig

from gateway import __version__
from gateway.beside import Beside
from gateway.core.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotReady, RouteNotFound
from gateway.core.ids import new_id
from gateway.db.away import RETRY_SECONDS, is_away
from gateway.http.access import authorize, require_listed
from gateway.http.admin.money import Money
from gateway.http.admin.needs import Admin
from gateway.http.admin.router import admin_router
from gateway.http.auth import Doors, callback, login, logout, me
from gateway.http.health import Health, healthz, metrics, readyz
from gateway.http.proxy import Proxy
from gateway.tuned import Tuned
from gateway.wire.errors import error_body

log = logging.getLogger("gateway.http")
Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def make_litestar(
    proxy: Proxy,
    doors: Doors,
    admin: Admin,
    money: Money,
    health: Health,
    beside: Beside,
    tuned: Tuned,
    lifespan: Lifespan,
    *,
    serve_metrics: bool,
) -> Litestar:
    """The application. `/v1` is raw ASGI under Litestar's router: a routed handler costs 200 us more a call.

    Raises ImproperlyConfiguredException for a route that is not in the table of `http/access.py`.
    """
    handlers: list[Any] = [
        admin_router,
        login,
        callback,
        me,
        logout,
        healthz,
        readyz,
        *([metrics] if serve_metrics else []),
    ]
    guarded = Router("/", route_handlers=handlers, guards=[authorize])
    mount = asgi("/v1", is_mount=True, copy_scope=False)(proxy.__call__)
    application = Litestar(
        route_handlers=[mount, guarded],
        lifespan=[lifespan],
        exception_handlers={GatewayError: _told, HTTPException: _http_told, Exception: _fault},
        openapi_config=OpenAPIConfig(title="Switchyard", version=__version__, path="/schema"),
        logging_config=None,
        request_max_body_size=1024 * 1024,
    )
    application.state.admin = admin
    application.state.money = money
    application.state.health = health
    application.state.access = doors.access
    application.state.doors = doors
    require_listed(application)
    application.state.beside = beside
    application.state.tuned = tuned
    return application


def _told(_request: Request[Any, Any, Any], fault: GatewayError) -> Response[bytes]:
    headers = {"content-type": "application/json", "x-request-id": new_id("req")}
    if fault.retry_after_seconds is not None:
        headers["retry-after"] = str(fault.retry_after_seconds)
    return Response(error_body(fault), status_code=fault.status, headers=headers)


def _http_told(request: Request[Any, Any, Any], fault: HTTPException) -> Response[bytes]:
    told: GatewayError
    if fault.status_code == 404:
        told = RouteNotFound(f"Unknown request URL: {request.method} {request.url.path}.")
    elif fault.status_code == 405:
        told = MethodNotAllowed(f"{request.method} is not supported on {request.url.path}.")
    else:
        told = InvalidRequest(_detail(fault))
        told.status = fault.status_code
    return _told(request, told)


def _detail(fault: HTTPException) -> str:
    if isinstance(fault, ValidationException) and isinstance(fault.extra, list):
        places = [f"{item.get('key')}: {item.get('message')}" for item in fault.extra if isinstance(item, dict)]
        return "; ".join(places) or fault.detail
    return fault.detail


def _fault(request: Request[Any, Any, Any], fault: Exception) -> Response[bytes]:
    if is_away(fault):
        log.warning("database_away", extra={"fields": {"path": request.url.path, "error": type(fault).__name__}})
        return _told(request, NotReady("The database does not answer.", retry_after_seconds=RETRY_SECONDS))
    log.error("request_failed", extra={"fields": {"path": request.url.path}}, exc_info=fault)
    return _told(request, GatewayError("The gateway failed; its log has the reason."))
