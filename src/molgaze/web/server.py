"""The server: a page, and the reader behind HTTP.

    uvicorn.run(application(partial(Reader, threads=1)))

What comes in is held in memory, read by a worker process, answered and forgotten: nothing is
written to disk or to a log, and no address is ever fetched.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import io
import ipaddress
import math
import os
import re
import secrets
import socket
import sys
import webbrowser
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..cores import cores
from ..picture import FORMATS
from ..reader import WEIGHTS, Reader
from ..workers import (
    PAGE_TIMES,
    Answer,
    Factory,
    LostError,
    Task,
    WorkerError,
    Workers,
    failure,
)
from . import tasks

PAGE = Path(__file__).parent / "page"
EXAMPLE = WEIGHTS / "check.png"
SCRIPT = "text/javascript; charset=utf-8"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", SCRIPT),
    "/pane.js": ("pane.js", SCRIPT),
    "/gaze.js": ("gaze.js", SCRIPT),
    "/editor.js": ("editor.js", SCRIPT),
    "/openchemlib.js": ("openchemlib.js", SCRIPT),
    "/openchemlib.txt": ("openchemlib.LICENSE.txt", "text/plain; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Max-Age": "600",
}
"""What a browser is told before a page of another site, which was named, sends a picture."""
STATUS = {"format": 415, "large": 413, "fault": 500, "TimedOut": 504}
"""Of a picture alone in its request, by the fault with it; 422 for all others."""


@dataclass(frozen=True)
class Limits:
    """What one server takes on.

    Attributes:
        workers: pictures read at the same time.
        admitted: requests that are read, or wait for it, at the same time; more are told to come
            back (503). One counts until its workers are done with it, and not while it comes in.
        body: bytes of a request; all requests together may hold ``admitted`` times as many.
        pictures: in a request.
        timeout: seconds for a picture in its worker.
        deadline: seconds for a request, from its first byte to its answer.
        hosts: names under which the server may be addressed, beside ``localhost`` and addresses in
            numbers, which no rebinding of a name can forge.
        origins: of other sites whose pages may use the server, such as ``https://example.org``;
            ``*`` is all.
        recognized: molecules that are kept until an editor fetches them.
    """

    workers: int = field(default_factory=cores)
    admitted: int = 32
    body: int = 20 * 2**20
    pictures: int = 16
    timeout: float = 20.0
    deadline: float = 60.0
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    recognized: int = 100


# ---- what is answered -----------------------------------------------------------------------


class Alternative(BaseModel):
    """Another reading of the same picture."""

    smiles: str
    confidence: float | None


class ReadingAnswer(BaseModel):
    """One picture, read: the fields of `molgaze.Reading`."""

    model_config = ConfigDict(title="Reading")

    smiles: str | None
    cxsmiles: str | None
    molfile: str | None
    inchikey: str | None
    confidence: float
    tokens: list[str]
    places: list[list[float | None]]
    probabilities: list[float | None]
    finish_reason: Literal["end", "length", "no molecule", "error"]
    warnings: list[str]
    alternatives: list[Alternative]
    source: str | None
    page: int | None
    scale: float | None
    model: str | None
    ms: float | None
    error: str | None
    error_type: str | None
    id: str | None
    review: bool
    box: list[float] | None
    found: float | None
    number: str | None
    atom_confidences: list[float | None]
    role: str | None
    reaction: str | None


class Doubt(BaseModel):
    """An atom that may be wrong, and where it lies in the picture."""

    x: float
    y: float
    label: str
    confidence: float


class Drawing(BaseModel):
    """A molecule as it lies in the picture, with wedges on the bonds that had them there.

    ``frame`` is the left, top, right and bottom of the svg in the units of the reading's places.
    """

    svg: str
    frame: list[float]
    doubtful: list[Doubt]


class FoundAnswer(BaseModel):
    """What is drawn on a page of a document, or in a picture.

    ``size`` is the height and width of the page in the units of the boxes: points of a PDF, or
    pixels; it is told of a PDF, and where ``picture`` is asked for. ``picture`` is a data URL.
    """

    pages: int
    size: tuple[float, float] | None
    readings: list[ReadingAnswer]
    drawings: list[Drawing | None] | None
    picture: str | None


class Fault(BaseModel):
    """Why there is no answer."""

    detail: str


class Health(BaseModel):
    """The server is well."""

    status: Literal["ok"]
    model: str
    version: str
    under_way: int


class Names(BaseModel):
    """What a molfile is called."""

    smiles: str | None
    cxsmiles: str | None
    inchikey: str | None
    drawing: Drawing | None


class Upload(BaseModel):
    """What Ketcher asks for a molecule by."""

    upload_id: str


class Recognized(BaseModel):
    """The molecule of a picture that was sent, or why there is none."""

    state: Literal["SUCCESS", "FAILURE"]
    metadata: dict[str, str]
    error: str | None


class Versions(BaseModel):
    """What Ketcher asks before it offers to recognize pictures."""

    indigo_version: str
    imago_versions: list[str]


_FAULTS = {
    400: "The request is malformed.",
    403: "It comes from a page of another site.",
    413: "Too many bytes, pixels or pictures.",
    415: "Not a picture of a known format, or a body of another type.",
    421: "The server has no such name.",
    422: "A picture that cannot be read: broken, blank, too small, without that page; or a "
    "parameter of the wrong kind.",
    500: "A fault in MolGaze.",
    503: "Busy: come back after the seconds in `Retry-After`.",
    504: "It took too long.",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"model": Fault, "description": text} for code, text in _FAULTS.items()
}
_RESPONSES[503] = {
    **_RESPONSES[503],
    "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}},
}
_READING: dict[int | str, dict[str, Any]] = {
    code: _RESPONSES[code] for code in (403, 413, 415, 422, 500, 503, 504)
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_KINDS = ("x-portable-anymap" if form == "PPM" else form.lower() for form in FORMATS)
_PICTURE = {f"image/{kind}": _BINARY for kind in _KINDS} | {"application/octet-stream": _BINARY}
_FORM = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["pictures"],
            "additionalProperties": False,
            "properties": {
                "pictures": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "string", "format": "binary"},
                }
            },
        }
    }
}
Page = Annotated[int, Query(ge=1, le=10_000, description="Page of a document, from 1.")]
Text = Literal["csv", "tsv", "jsonl", "sdf", "smi", "cdxml", "mol"]
KINDS: dict[Text, str] = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "jsonl": "application/jsonl",
    "sdf": "chemical/x-mdl-sdfile",
    "smi": "chemical/x-daylight-smiles",
    "cdxml": "application/vnd.chemdraw+xml",
    "mol": "chemical/x-mdl-molfile",
}


# ---- the application ------------------------------------------------------------------------


def application(
    factory: Factory, limits: Limits | None = None, *, ketcher: bool = False
) -> FastAPI:
    """The server as an ASGI application.

    Args:
        factory: makes a worker's reader; picklable.
        limits: the defaults if None.
        ketcher: also answer what Ketcher asks to recognize a picture.

    Raises:
        WorkerError: when it starts up, if no reader can be started.
    """
    limits = limits or Limits()
    desk = _Desk(factory, limits)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        try:
            await desk.open()
        except WorkerError as err:
            app.state.fault = str(err)
            raise
        try:
            yield
        finally:
            desk.close()

    app = FastAPI(
        title="MolGaze",
        version=_version(),
        description="Reads pictures of molecules. Nothing that is sent is stored.",
        lifespan=life,
        docs_url=None,  # these pages load their scripts from elsewhere
        redoc_url=None,
        responses={code: _RESPONSES[code] for code in (400, 421)},
    )
    app.add_middleware(_Guard, hosts=limits.hosts, origins=limits.origins)

    @app.exception_handler(RequestValidationError)
    async def refused(_: Request, err: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in err.errors())
        return JSONResponse({"detail": said}, 422)

    @app.post(
        "/read",
        summary="Read one picture, or several.",
        responses={
            200: {
                "description": "A picture as the body gives one reading; a form of files gives "
                "a list with one for each, in order, and those that cannot be read have `error`.",
                "model": ReadingAnswer | list[ReadingAnswer],
            },
            **_READING,
        },
        openapi_extra={"requestBody": {"required": True, "content": _PICTURE | _FORM}},
    )
    async def read(request: Request, page: Page = 1) -> JSONResponse:
        async with desk.turn() as turn:
            form = _type(request) == "multipart/form-data"
            if form:
                pictures = await _files(request, limits, turn.hold)
            else:
                _check_type(request, ("image/", "application/octet-stream", ""))
                pictures = [(_name(request), await _body(request, limits.body, turn.hold))]
            turn.admit()
            answers = await asyncio.gather(*(desk.read(turn, n, page, c) for n, c in pictures))
        if form:
            return JSONResponse([reading for _, reading in answers])
        fault, reading = answers[0]
        if fault is not None:
            raise _refusal(fault, reading["error"].removeprefix(f"{reading['source']}: "))
        return JSONResponse(reading)

    @app.post(
        "/find",
        summary="Find and read every molecule on a page of a PDF, or in a picture.",
        responses={
            200: {
                "description": "How many pages there are, and a reading for each molecule of this "
                "one, as `molgaze read` gives them: with its box on a page and in a picture that "
                "shows several. Places are in points of a PDF, or in pixels.",
                "model": FoundAnswer,
            },
            **_READING,
        },
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/pdf": _BINARY} | _PICTURE}
        },
    )
    async def find(
        request: Request, page: Page = 1, drawings: bool = False, picture: bool = False
    ) -> JSONResponse:
        async with desk.turn(PAGE_TIMES) as turn:
            _check_type(request, ("application/pdf", "image/", "application/octet-stream", ""))
            body = await _body(request, limits.body, turn.hold)
            turn.admit()
            task = partial(
                tasks.find,
                source=_name(request),
                page=page,
                content=body,
                drawings=drawings,
                picture=picture,
            )
            fault, answer = await desk.ask(turn, task, PAGE_TIMES)
        if fault is not None:
            raise _refusal(fault, answer)
        return JSONResponse(answer)

    @app.post(
        "/preview",
        summary="The picture as the reader sees it: grey, dark on light.",
        response_class=Response,
        responses={
            200: {"description": "A PNG.", "content": {"image/png": _BINARY}},
            **_READING,
        },
        openapi_extra={"requestBody": {"required": True, "content": _PICTURE}},
    )
    async def preview(request: Request, page: Page = 1) -> Response:
        async with desk.turn() as turn:
            _check_type(request, ("image/", "application/octet-stream", ""))
            body = await _body(request, limits.body, turn.hold)
            turn.admit()
            fault, answer = await desk.ask(turn, partial(tasks.preview, page=page, content=body))
        if fault is not None:
            raise _refusal(fault, answer)
        return Response(answer, media_type="image/png")

    @app.post(
        "/names",
        summary="What a molfile is called, canonical SMILES and InChIKey, and its drawing.",
        responses={
            200: {"model": Names},
            **_READING,
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    kind: {"schema": {"type": "string"}}
                    for kind in ("text/plain", "chemical/x-mdl-molfile")
                },
            }
        },
    )
    async def names(request: Request) -> JSONResponse:
        async with desk.turn() as turn:
            _check_type(request, ("chemical/x-mdl-molfile", "text/plain"))
            body = await _body(request, min(limits.body, 2**20), turn.hold)
            turn.admit()
            molfile = body.decode(errors="replace")
            fault, answer = await desk.ask(turn, partial(tasks.names, molfile=molfile))
        if fault is not None:
            raise _refusal(fault, answer)
        return JSONResponse(answer)

    @app.post(
        "/export",
        summary="Readings to a file, as the command line writes it.",
        response_class=Response,
        responses={
            200: {
                "description": "The file.",
                "content": {kind: {"schema": {"type": "string"}} for kind in KINDS.values()},
            },
            **_READING,
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"type": "array", "items": {}}}},
            }
        },
    )
    async def export(request: Request, format: Text) -> Response:
        async with desk.turn() as turn:
            _check_type(request, ("application/json",))
            body = await _body(request, limits.body, turn.hold)
            turn.admit()
            task = partial(tasks.export, content=body, format=format)
            fault, answer = await desk.ask(turn, task)
        if fault is not None:
            raise _refusal(fault, answer)
        return Response(answer, media_type=KINDS[format])

    @app.get("/healthz", responses={200: {"model": Health}})
    async def healthz() -> JSONResponse:
        """Model, version, and the number of requests under way."""
        about = {"status": "ok", "model": desk.model, "version": _version()}
        return JSONResponse({**about, "under_way": desk.under_way})

    for path, (name, kind) in FILES.items():
        app.add_api_route(path, _sender(PAGE / name, kind), include_in_schema=False)
    app.add_api_route("/example.png", _sender(EXAMPLE, "image/png"), include_in_schema=False)
    if ketcher:
        _answer_ketcher(app, desk, limits)
    return app


def _sender(path: Path, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return FileResponse(path, media_type=kind, headers={"Cache-Control": "no-cache"})

    return send


def _answer_ketcher(app: FastAPI, desk: _Desk, limits: Limits) -> None:
    """Adds what the remote structure service of Ketcher asks for when a picture is recognized.

    A picture is read while its upload is answered, so that the molecule is there when it is first
    asked for. It is kept in memory until it has been fetched, or until newer ones fill the place.
    """
    kept: OrderedDict[str, dict[str, Any]] = OrderedDict()

    @app.get(
        "/info", summary="For Ketcher: what can be asked.", responses={200: {"model": Versions}}
    )
    async def info() -> JSONResponse:
        return JSONResponse({"indigo_version": "", "imago_versions": [f"MolGaze {_version()}"]})

    @app.post(
        "/imago/uploads",
        summary="For Ketcher: recognize a picture.",
        responses={200: {"model": Upload}, **_READING},
        openapi_extra={"requestBody": {"required": True, "content": _PICTURE}},
    )
    async def upload(request: Request) -> JSONResponse:
        try:
            async with desk.turn() as turn:
                _check_type(request, ("image/", "application/octet-stream", ""))
                body = await _body(request, limits.body, turn.hold)
                turn.admit()
                fault, answer = await desk.ask(turn, partial(tasks.recognized, content=body))
        except HTTPException as err:  # Ketcher shows what is under `error`
            said = {"detail": err.detail, "error": err.detail}
            return JSONResponse(said, err.status_code, err.headers)
        key = secrets.token_urlsafe(16)
        if fault is None:
            kept[key] = {"state": "SUCCESS", "metadata": {"mol_str": answer}, "error": None}
        else:
            kept[key] = {"state": "FAILURE", "metadata": {}, "error": answer}
        while len(kept) > limits.recognized:
            kept.popitem(last=False)
        return JSONResponse({"upload_id": key})

    @app.get(
        "/imago/uploads/{upload_id}",
        summary="For Ketcher: the molecule of a picture that was sent, once.",
        responses={200: {"model": Recognized}, 404: {"model": Fault}},
    )
    async def recognized(upload_id: str) -> JSONResponse:
        found = kept.pop(upload_id, None)
        if found is None:
            said = "there is no such upload, or its molecule was fetched already"
            return JSONResponse({"detail": said, "error": said}, 404)
        return JSONResponse(found)


def _version() -> str:
    try:
        return version("molgaze")
    except PackageNotFoundError:
        return "0"


class _Desk:
    """Lets requests in as long as there is room, and passes tasks to the workers."""

    def __init__(self, factory: Factory, limits: Limits) -> None:
        self._factory, self._limits = factory, limits
        self._workers: Workers
        self._threads: ThreadPoolExecutor
        self.model = ""
        self.under_way = 0  # requests that workers are busy with, or will be
        self.held = 0  # bytes of all requests in memory
        self._seconds = 1.0  # of a task, smoothed

    async def open(self) -> None:
        self._workers = Workers(self._factory, self._limits.workers, self._limits.timeout)
        self._threads = ThreadPoolExecutor(self._limits.workers)
        try:
            self.model = (await self._in_thread(self._workers.start))["model"]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._workers.close()
        self._threads.shutdown(cancel_futures=True)

    async def _in_thread(self, act: Callable[[], Answer], turn: _Turn | None = None) -> Answer:
        future = self._threads.submit(act)
        if turn is not None:
            turn.wait_for(future)
        return await asyncio.wrap_future(future)

    @asynccontextmanager
    async def turn(self, times: float = 1.0) -> AsyncIterator[_Turn]:
        """One request, up to its deadline; its task takes so many times as long as a picture."""
        deadline = self._limits.deadline + (times - 1) * self._limits.timeout
        self.check_room()  # before it sends what nobody has room for
        turn = _Turn(self)
        try:
            async with asyncio.timeout(deadline):
                yield turn
        except TimeoutError:
            raise HTTPException(504, f"took more than {deadline:g} s") from None
        finally:
            turn.leave()

    def check_room(self) -> None:
        """Refuse a request if there is no room for another one.

        Raises:
            HTTPException: there is none.
        """
        if self.under_way >= self._limits.admitted:
            raise self.busy()

    def busy(self) -> HTTPException:
        """Tells a client when to come back."""
        wait = math.ceil(self.under_way * self._seconds / self._limits.workers)
        return HTTPException(503, "busy", {"Retry-After": str(max(1, wait))})

    @property
    def most_held(self) -> int:
        """Bytes that all requests together may hold."""
        return self._limits.admitted * self._limits.body

    async def read(self, turn: _Turn, source: str, page: int, content: bytes) -> tasks.Answered:
        """A reading, whatever happens to the picture or to its worker."""
        task = partial(tasks.read, source=source, page=page, content=content)
        try:
            return await self._ask(turn, task)
        except LostError as lost:
            return lost.kind, failure(source, page, lost, self.model).to_dict()

    async def ask(
        self, turn: _Turn, task: Task[tasks.Answered], times: float = 1.0
    ) -> tasks.Answered:
        """The answer of a worker; a fault if two were lost over it."""
        try:
            return await self._ask(turn, task, times)
        except LostError as lost:
            return lost.kind, str(lost)

    async def _ask(
        self, turn: _Turn, task: Task[tasks.Answered], times: float = 1.0
    ) -> tasks.Answered:
        loop = asyncio.get_running_loop()

        def work() -> tuple[float, tasks.Answered]:
            began = loop.time()
            return began, self._workers.ask(task, times)

        try:
            began, answer = await self._in_thread(work, turn)
        except WorkerError as err:
            raise HTTPException(503, str(err), {"Retry-After": "10"}) from None
        self._seconds += 0.1 * (loop.time() - began - self._seconds)
        return answer


class _Turn:
    """What one request takes up: memory while it comes in, then a place among those under way.

    Both are given back when it is answered and its workers are done with it, whichever is last: a
    worker goes on with its picture though nobody waits for the answer any more.
    """

    def __init__(self, desk: _Desk) -> None:
        self._desk = desk
        self._bytes = 0
        self._admitted = False
        self._users = 1  # itself, and the tasks that were given to workers

    def hold(self, size: int) -> None:
        """So many bytes more are in memory.

        Raises:
            HTTPException: all requests together hold too much.
        """
        self._bytes += size
        self._desk.held += size
        if self._desk.held > self._desk.most_held:
            raise self._desk.busy()

    def admit(self) -> None:
        """It has come in as a whole.

        Raises:
            HTTPException: others were quicker and there is no room any more.
        """
        self._desk.check_room()
        self._desk.under_way += 1
        self._admitted = True

    def wait_for(self, future: Future[Any]) -> None:
        """Keep its place until a task is done, too."""
        loop = asyncio.get_running_loop()
        self._users += 1

        def done(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(self.leave)

        future.add_done_callback(done)

    def leave(self) -> None:
        """One of its users is done."""
        self._users -= 1
        if not self._users:
            self._desk.held -= self._bytes
            self._desk.under_way -= self._admitted


def _refusal(kind: str, text: str) -> HTTPException:
    return HTTPException(STATUS.get(kind, 422), text)


# ---- what comes in --------------------------------------------------------------------------


def _type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_type(request: Request, allowed: tuple[str, ...]) -> None:
    kind = _type(request)
    if not any(kind == a or (a.endswith("/") and kind.startswith(a)) for a in allowed):
        wanted = ", ".join(a + "*" * a.endswith("/") for a in allowed if a)
        raise HTTPException(415, f"{kind or 'no type'}: send {wanted}")


Hold = Callable[[int], None]  # told of bytes that are in memory now


async def _parts(request: Request, limit: int, hold: Hold) -> AsyncGenerator[bytes, None]:
    """The body as it comes, counted: what the header says of its length is not believed."""
    told, size = request.headers.get("content-length", ""), 0
    if told.isdecimal() and int(told[:20]) > limit:
        raise HTTPException(413, f"more than {_size(limit)}")
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise HTTPException(413, f"more than {_size(limit)}")
        hold(len(part))
        yield part
    if not size:
        raise HTTPException(422, "the body is empty")


def _size(limit: int) -> str:
    return f"{limit:,} bytes" if limit % 2**20 else f"{limit // 2**20} MB"


async def _body(request: Request, limit: int, hold: Hold) -> bytes:
    """The body, in memory once."""
    body = io.BytesIO()
    async for part in _parts(request, limit, hold):
        body.write(part)
    return body.getvalue()


class _InMemory(MultiPartParser):
    spool_max_size = sys.maxsize  # nothing goes to disk


async def _files(request: Request, limits: Limits, hold: Hold) -> list[tuple[str, bytes]]:
    """Names and contents of the files in a form, in memory once, and one of them twice."""
    stream = _parts(request, limits.body, hold)
    try:
        form = await _InMemory(request.headers, stream, max_files=1000, max_fields=1000).parse()
    except (MultiPartException, ValueError, KeyError) as err:
        said = getattr(err, "message", "") or "malformed form"
        raise HTTPException(400, said) from err
    try:
        fields = form.multi_items()
        files = [f for name, f in fields if name == "pictures" and isinstance(f, UploadFile)]
        if len(files) < len(fields):
            raise HTTPException(422, "the form has a field other than pictures, or one not a file")
        if len(files) > limits.pictures:
            raise HTTPException(413, f"more than {limits.pictures} pictures")
        found = []
        for file in files:
            found.append((_plain(file.filename), await file.read()))
            await file.close()
    finally:
        await form.close()
    if not found:
        raise HTTPException(422, "the form has no file")
    return found


def _name(request: Request) -> str:
    told = request.headers.get("content-disposition", "")
    if found := re.search(r"filename\*=UTF-8''([^;\s]+)", told, re.IGNORECASE):
        return _plain(unquote(found[1], errors="replace"))
    found = re.search(r'filename="?([^";]+)', told)
    return _plain(found[1] if found else None)


def _plain(name: str | None) -> str:
    """The last part of a name, printable and not too long."""
    last = re.split(r"[/\\]", name or "")[-1]
    return "".join(c for c in last if c.isprintable())[-200:] or "picture"


class _Guard:
    """Answers requests to a name of this server only, from its own pages and from those of other
    sites that were named; adds the headers.
    """

    def __init__(
        self, app: ASGIApp, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()
    ) -> None:
        self._app = app
        self._hosts = {"localhost", *(h.lower().rstrip(".") for h in hosts)}
        self._origins = {o.lower().rstrip("/") for o in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        origin = headers.get("origin")
        is_welcome = origin is not None and not self._origins.isdisjoint({origin.lower(), "*"})
        own = dict(HEADERS)
        if is_welcome and origin is not None:
            own |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = list(message.get("headers", []))
                if not any(name.lower() == b"cache-control" for name, _ in kept):
                    kept.append((b"cache-control", b"no-store"))
                kept += [(n.lower().encode(), v.encode()) for n, v in own.items()]
                message = {**message, "headers": kept}
            await send(message)

        answer: Response | None = None
        if not self._known(host):
            answer = JSONResponse({"detail": "this server has no such name"}, 421)
        elif is_welcome:
            if scope["method"] == "OPTIONS":
                answer = Response(status_code=204, headers=PREFLIGHT)
        elif scope["method"] not in ("GET", "HEAD") and (
            headers.get("sec-fetch-site") in ("cross-site", "same-site")
            or (origin is not None and origin.partition("://")[2] != host)
        ):
            answer = JSONResponse({"detail": "from a page of another site"}, 403)
        await (answer or self._app)(scope, receive, with_headers)

    def _known(self, host: str) -> bool:
        match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:\d+)?", host.lower())
        if match is None:
            return False
        name = match[1].strip("[]").rstrip(".")
        if name in self._hosts or "*" in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


# ---- the command ----------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    """``molgaze serve``: until it is interrupted.

    Raises:
        OSError: the address is taken.
        WorkerError: no reader could be started.
    """
    factory: Any = partial(
        Reader, args.weights, device=args.device, threads=args.threads or 1, beam=args.beam
    )
    limits = Limits(
        workers=args.workers or cores(),
        admitted=args.admit,
        body=args.megabytes * 2**20,
        timeout=args.timeout,
        deadline=args.timeout + 40,
        hosts=tuple(args.allow_host),
        origins=tuple(args.allow_origin),
    )
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    try:
        listening = socket.create_server((args.host, args.port), family=family)
    except OSError as err:
        said = os.strerror(err.errno) if err.errno and err.errno > 0 else str(err)
        if err.errno == errno.EADDRINUSE:
            said += "; choose another one with --port"
        raise OSError(f"{args.host}, port {args.port}: {said}") from err
    app = application(factory, limits, ketcher=args.ketcher)
    server = _Server(
        uvicorn.Config(
            app,
            log_level="critical",
            access_log=False,
            server_header=False,
            limit_concurrency=16 * args.admit,
            timeout_keep_alive=5,
        )
    )
    shown = f"[{args.host}]" if ":" in args.host else args.host
    server.told = f"http://{shown.replace('0.0.0.0', 'localhost')}:{args.port}/"
    server.shown = args.open
    with listening, suppress(SystemExit):  # uvicorn's way to say that it did not start
        server.run(sockets=[listening])
    if not server.started:
        raise WorkerError(getattr(app.state, "fault", "the server did not start"))
    return 0


class _Server(uvicorn.Server):
    """Says where it is, once it is there."""

    told = ""
    shown = False

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"molgaze: {self.told} (Ctrl-C ends it)", file=sys.stderr)
            if self.shown:
                webbrowser.open(self.told)
